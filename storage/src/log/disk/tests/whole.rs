//! Whether the log is whole, and the store's own: what a crash leaves between any two steps opens, what lacks a file or is
//! another's does not.

use std::collections::BTreeMap;

use super::*;

/// The files of a folder, by name.
type Image = BTreeMap<String, Vec<u8>>;

fn image(folder: &Path) -> Image {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry"));
    let read = |e: std::fs::DirEntry| {
        let name = e.file_name().into_string().expect("UTF-8");
        (name, std::fs::read(e.path()).expect("read"))
    };
    entries.map(read).collect()
}

/// Opens a log that is found so.
fn found(image: &Image) -> StorageResult<OnDisk> {
    let folder = TempDir::new().expect("a folder");
    for (name, bytes) in image {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    let log = DiskLog::open(folder.path(), OWNER, SMALL)?;
    Ok(OnDisk { folder, options: SMALL, log: Some(log) })
}

fn refused(image: &Image, says: &[&str]) {
    let e = found(image).err().expect("a refusal").to_string();
    says.iter().for_each(|part| assert!(e.contains(part), "`{part}` is not in: {e}"));
}

fn with(image: &Image, name: &str, bytes: &[u8]) -> Image {
    let mut image = image.clone();
    image.insert(name.into(), bytes.to_vec());
    image
}

fn without(image: &Image, name: &str) -> Image {
    let mut image = image.clone();
    image.remove(name);
    image
}

/// The files before and after a segment got a successor.
struct Succession {
    before: Image,
    after: Image,
    /// The records before.
    records: String,
    /// The successor's name.
    next: String,
}

fn newest(c: &OnDisk) -> u64 {
    c.open_log().writer.lock().segment
}

/// A log of many segments, of which the first have gone: the file of one will be used again.
fn aged() -> OnDisk {
    let c = OnDisk::new(SMALL);
    (1..=60).for_each(|index| append(c.log(), R1, index, index, 1));
    write(c.log(), vec![(R1, LogOp::Truncate { first: 40, prev_term: 1 })]);
    c.log().purge().expect("purged");
    c
}

impl Succession {
    fn by_a_start() -> Self {
        let mut c = aged();
        let (before, records) = (image(c.folder.path()), shown(c.log(), R1));
        c.reopen().expect("opened");
        let next = segment::name(newest(&c));
        Succession { before, after: image(c.folder.path()), records, next }
    }

    fn of_a_full_segment() -> Self {
        let c = aged();
        let full = newest(&c);
        loop {
            let (before, records) = (image(c.folder.path()), shown(c.log(), R1));
            let index = c.last() + 1;
            append(c.log(), R1, index, index, 1);
            if newest(&c) > full {
                let next = segment::name(newest(&c));
                return Succession { before, after: image(c.folder.path()), records, next };
            }
        }
    }

    /// What a crash may leave, step by step.
    fn moments(&self) -> Vec<(&'static str, Image)> {
        let Succession { before, after, next, .. } = self;
        let (_, recycled) = before.iter().find(|(name, _)| name.ends_with(".spare")).expect("a spare file");
        let header = &after[next][..HEADER_LEN as usize];
        let of_the_manifest = [&before[manifest::NAME], &after[manifest::NAME]];
        let ended = with(&without(after, next), manifest::NAME, of_the_manifest[0]);
        // The first record of a successor may follow at once: without it.
        let begun = with(&ended, next, &[header, &recycled[header.len()..]].concat());
        let changed = of_the_manifest[0].iter().zip(of_the_manifest[1]).position(|(a, b)| a != b);
        let changed = changed.expect("the manifest has changed");
        let mut torn = of_the_manifest[1].clone();
        torn[changed..changed + 4].fill(0xa5);
        vec![
            ("before", before.clone()),
            ("the end record, and no file to be used again", ended.clone()),
            ("an old file under its new name", with(&ended, next, recycled)),
            ("a new file, empty", with(&ended, next, &[])),
            ("a new file with room", with(&ended, next, &[0; 1024])),
            ("a new file with a torn header", with(&ended, next, &[&header[..20], &[0; 200]].concat())),
            ("the header", begun.clone()),
            ("a torn manifest", with(&begun, manifest::NAME, &torn)),
            ("the manifest", with(&begun, manifest::NAME, of_the_manifest[1])),
            ("all", after.clone()),
        ]
    }
}

#[test]
fn a_crash_at_any_moment_of_a_succession_leaves_a_log_that_opens() {
    for succession in [Succession::by_a_start(), Succession::of_a_full_segment()] {
        for (moment, left) in succession.moments() {
            let mut c = found(&left).unwrap_or_else(|e| panic!("{moment}: {e}"));
            let records = shown(c.log(), R1);
            assert!(records.starts_with(&succession.records), "{moment}: {records}");
            let last = c.last();
            append(c.log(), R1, last + 1, last + 40, 2);
            let records = shown(c.log(), R1);
            c.reopen().unwrap_or_else(|e| panic!("{moment}, again: {e}"));
            assert_eq!(shown(c.log(), R1), records, "{moment}");
        }
    }
}

/// From the first segment on.
#[test]
fn a_crash_at_the_beginning_leaves_a_log_that_opens() {
    let folder = TempDir::new().expect("a folder");
    assert_eq!(DiskLog::owner(folder.path().join("none")).expect("read"), None);
    assert_eq!(DiskLog::owner(folder.path()).expect("read"), None);
    // Founded by a start that got no further, and by the next, under other ids.
    let other = LogOwner { cluster: 5, node: NodeId(1) };
    std::fs::write(folder.path().join("MANIFEST.new"), b"torn").expect("written");
    DiskLog::found(folder.path(), other).expect("founded");
    assert_eq!(DiskLog::owner(folder.path()).expect("read"), None);
    DiskLog::found(folder.path(), OWNER).expect("founded again");
    let founded = image(folder.path());
    drop(DiskLog::open(folder.path(), OWNER, SMALL).expect("opened"));
    assert_eq!(DiskLog::owner(folder.path()).expect("read"), Some(OWNER));
    let e = DiskLog::found(folder.path(), other).expect_err("somebody's");
    assert!(e.to_string().contains("belongs to node 3"), "{e}");
    let first = segment::name(1);
    let header = &image(folder.path())[&first][..HEADER_LEN as usize];
    for left in [&[][..], &[0; 100], header] {
        found(&with(&founded, &first, left)).expect("made again");
    }
}

#[test]
fn a_missing_or_emptied_newest_segment_is_refused() {
    let several = Succession::of_a_full_segment().after;
    let mut c = OnDisk::new(SMALL);
    append(c.log(), R1, 1, 2, 1);
    c.reopen().expect("opened");
    append(c.log(), R1, 3, 3, 1);
    c.log().purge().expect("purged");
    assert_eq!(c.open_log().shared.read().segments.len(), 1);
    for whole in [several, image(c.folder.path())] {
        found(&whole).expect("whole");
        let newest = whole.keys().rfind(|name| name.ends_with(".log")).expect("a segment").clone();
        refused(&without(&whole, &newest), &[&newest, "is missing"]);
        refused(&with(&whole, &newest, &[]), &[&newest, "is empty"]);
        refused(&with(&whole, &newest, &[0; 1024]), &[&newest, "header of the segment is damaged"]);
        let mut none = whole.clone();
        none.retain(|name, _| !name.ends_with(".log"));
        refused(&none, &[&newest, "is missing"]);
        none.clear();
        refused(&none, &["MANIFEST is missing"]);
    }
}

#[test]
fn a_missing_damaged_or_old_manifest_is_refused() {
    let c = OnDisk::new(SMALL);
    (1..=60).for_each(|index| append(c.log(), R1, index, index, 1));
    let whole = image(c.folder.path());
    refused(&without(&whole, manifest::NAME), &["MANIFEST is missing"]);
    refused(&with(&whole, manifest::NAME, &[]), &["MANIFEST", "neither of its two slots is sound"]);
    refused(&with(&whole, manifest::NAME, &[0xa5; 8192]), &["MANIFEST", "neither of its two slots is sound"]);
    // Each segment was a change. Of the slots, the newer is damaged: the segment that it names has records.
    let number = newest(&c);
    let mut bytes = whole[manifest::NAME].clone();
    bytes[number as usize % 2 * manifest::SLOT_BYTES + 20] ^= 1;
    let name = segment::name(number);
    refused(&with(&whole, manifest::NAME, &bytes), &[&name, "the manifest does not know of it"]);
    Manifest::lay(&c.folder.path().into(), OWNER).expect("founded");
    let first = image(c.folder.path())[manifest::NAME].clone();
    refused(&with(&whole, manifest::NAME, &first), &[&name, "the manifest does not know of the segment"]);
}

#[test]
fn the_log_of_another_store_is_refused() {
    for other in [LogOwner { cluster: 1, ..OWNER }, LogOwner { node: NodeId(4), ..OWNER }] {
        let own = OnDisk::new(SMALL);
        append(own.log(), R1, 1, 3, 1);
        let own = image(own.folder.path());
        let folder = TempDir::new().expect("a folder");
        DiskLog::found(folder.path(), other).expect("founded");
        drop(DiskLog::open(folder.path(), other, SMALL).expect("opened"));
        let others = image(folder.path());
        let says =
            [&*format!("belongs to {other}"), "this store is node 3", "put the log of this store back"];
        refused(&others, &says);
        let (first, manifest) = (segment::name(1), manifest::NAME);
        refused(&with(&own, &first, &others[&first]), &says);
        refused(&with(&own, manifest, &others[manifest]), &says);
    }
}

/// What another version would have written.
fn of_version(version: u8, bytes: &mut [u8], checksum_at: usize) {
    bytes[7] = version;
    let checksum = crc32c::crc32c(&bytes[..checksum_at]);
    bytes[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// It does not know of the second part of a slot, and leaves it as it is.
#[test]
fn a_manifest_that_an_earlier_build_has_written_is_read() {
    let mut c = OnDisk::new(SMALL);
    (1..=60).for_each(|index| append(c.log(), R1, index, index, 1));
    c.log = None;
    change(&c.folder.path().join(manifest::NAME), |bytes| {
        bytes.chunks_mut(manifest::SLOT_BYTES).for_each(|slot| slot[56..68].fill(7));
    });
    c.reopen().expect("the first part is sound");
    assert_eq!(c.last(), 60);
}

#[test]
fn a_log_of_another_version_is_refused_as_such() {
    let c = OnDisk::new(SMALL);
    append(c.log(), R1, 1, 3, 1);
    let whole = image(c.folder.path());
    for (name, checksum) in [(segment::name(1), 44), (manifest::NAME.into(), 52)] {
        let mut bytes = whole[&name].clone();
        bytes.chunks_mut(manifest::SLOT_BYTES).for_each(|slot| slot[7] = b'6');
        // One bit has flipped.
        let damaged = with(&whole, &name, &bytes);
        assert!(matches!(found(&damaged), Err(StorageError::Corruption(_))));
        bytes.chunks_mut(manifest::SLOT_BYTES).for_each(|slot| of_version(b'7', slot, checksum));
        refused(&with(&whole, &name, &bytes), &[&name, "in format 7 of the log; this binary reads format 2"]);
    }
    // The first version had no manifest.
    let mut bytes = whole[&segment::name(1)].clone();
    bytes[7] = b'6';
    refused(&Image::from([(segment::name(1), bytes.clone())]), &["MANIFEST is missing"]);
    of_version(b'1', &mut bytes, 44);
    let first = Image::from([(segment::name(1), bytes)]);
    refused(&first, &["in format 1 of the log; this binary reads format 2: start the version of the binary"]);
}

/// Also if nothing of the younger segments shows it: of a range that has been idle since, log and vote are there alone.
#[test]
fn a_missing_oldest_segment_is_refused() {
    let c = OnDisk::new(SMALL);
    let vote = HardState { term: 7, vote: 3, commit: 2 };
    write(c.log(), vec![(R2, LogOp::Append(entries(1, 2, 7))), (R2, LogOp::SetHardState(vote))]);
    write(c.log(), vec![(R1, LogOp::Reset { index: 1, term: 1 })]);
    (2..=40).for_each(|index| append(c.log(), R1, index, index, 1));
    write(c.log(), vec![(R1, LogOp::Truncate { first: 38, prev_term: 1 })]);
    let first = segment::name(1);
    refused(&without(&image(c.folder.path()), &first), &[&first, "is missing"]);
    c.log().purge().expect("purged");
    let whole = image(c.folder.path());
    let oldest = whole.keys().find(|name| name.ends_with(".log")).expect("a segment");
    assert!(*oldest > first);
    found(&whole).expect("what was given up is not missed");
}

#[test]
fn a_crash_while_a_segment_is_given_up_leaves_a_log_that_opens() {
    let c = OnDisk::new(SMALL);
    (1..=12).for_each(|index| append(c.log(), R1, index, index, 1));
    write(c.log(), vec![(R1, LogOp::Truncate { first: 12, prev_term: 1 })]);
    let (before, records) = (image(c.folder.path()), shown(c.log(), R1));
    let first = segment::name(1);
    {
        let w = &mut *c.open_log().writer.lock();
        assert!(w.segment > 1 && c.open_log().rewrite(w, 1).expect("rewritten"));
        c.open_log().give_up(w, 1).expect("given up");
    }
    let after = image(c.folder.path());
    assert!(!after.contains_key(&first) && after.contains_key("000000000001.spare"));
    let named = with(&without(&after, "000000000001.spare"), &first, &before[&first]);
    for (moment, left) in [
        ("before", &before),
        ("what was alive has been written again", &with(&named, manifest::NAME, &before[manifest::NAME])),
        ("the manifest", &named),
        ("the name has gone", &after),
        ("the file has gone", &without(&after, "000000000001.spare")),
    ] {
        let mut c = found(left).unwrap_or_else(|e| panic!("{moment}: {e}"));
        c.log().purge().expect("purged");
        c.reopen().unwrap_or_else(|e| panic!("{moment}, again: {e}"));
        assert_eq!(shown(c.log(), R1), records, "{moment}");
    }
}

/// Otherwise a power loss would take the record, after the segment has gone.
#[test]
fn what_makes_a_segment_unneeded_is_durable_before_it_goes() {
    let c = OnDisk::new(SMALL);
    (1..=12).for_each(|index| append(c.log(), R1, index, index, 1));
    let ops = vec![(R1, LogOp::Truncate { first: 13, prev_term: 1 })];
    c.log().write(&LogBatch { ops }, false).expect("written");
    {
        let w = c.open_log().writer.lock();
        assert!(w.synced + 1 < w.number, "not synced yet");
    }
    c.log().purge().expect("purged");
    let w = c.open_log().writer.lock();
    assert!(!image(c.folder.path()).contains_key(&segment::name(1)), "the first segment has gone");
    assert_eq!(w.synced + 1, w.number);
}

/// What the folder then holds is not known; a file that is about to go must not be written again either.
#[test]
fn nothing_is_written_after_a_segment_could_not_be_given_up() {
    let c = OnDisk::new(SMALL);
    (1..=12).for_each(|index| append(c.log(), R1, index, index, 1));
    write(c.log(), vec![(R1, LogOp::Truncate { first: 12, prev_term: 1 })]);
    std::fs::create_dir(c.folder.path().join("000000000001.spare")).expect("in the way of the new name");
    let refused = c.log().purge().expect_err("the file cannot be renamed");
    assert!(c.open_log().writer.lock().spare.is_none());
    let ops = vec![(R1, LogOp::Append(entries(13, 13, 1)))];
    for again in [c.log().write(&LogBatch { ops }, true), c.log().purge()] {
        assert_eq!(again.expect_err("it is remembered").to_string(), refused.to_string());
    }
}

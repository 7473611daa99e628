//! What other nodes send: batches of the key-value protocol, their answers, and the store's envelopes.
//!
//! Whatever the bytes: they are taken apart or refused. What was taken apart comes back the same when it is sent on.

use bytes::Bytes;
use meridian_storage::store::MessageBatch;
use meridian_txn::rpc::codec;

use super::choices::Choices;

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let kind = choices.u8() % 3;
    let raw = Bytes::copy_from_slice(choices.all());
    match kind {
        0 => {
            if let Ok(request) = codec::decode_request(raw) {
                let _ = format!("{request:?}");
                assert_eq!(codec::decode_request(codec::encode_request(&request)), Ok(request));
            }
        }
        1 => {
            if let Ok(reply) = codec::decode_reply(raw) {
                let _ = format!("{reply:?}");
                assert_eq!(codec::decode_reply(codec::encode_reply(reply.clone())), Ok(reply));
            }
        }
        _ => {
            if let Ok(batch) = MessageBatch::decode(raw) {
                let again = MessageBatch::decode(batch.encode().into());
                assert_eq!(again.expect("a batch that was encoded"), batch);
            }
        }
    }
}

//! The messages between nodes, as protobuf. Raft messages and key-value requests travel as bytes in the form that their own
//! layers give them.

/// One message on the long-lived stream between two nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    #[prost(enumeration = "FrameKind", tag = "1")]
    pub kind: i32,
    /// Tells which request a response answers.
    #[prost(uint64, tag = "2")]
    pub id: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub body: bytes::Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum FrameKind {
    Unknown = 0,
    /// The first frame of a stream: a [`Hello`].
    Hello = 1,
    /// A batch of Raft envelopes; no answer.
    Raft = 2,
    KvRequest = 3,
    KvResponse = 4,
}

/// Who opens a stream.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    #[prost(string, tag = "1")]
    pub cluster: String,
    #[prost(uint32, tag = "2")]
    pub from: u32,
    /// Whom the sender believes to speak with; another node refuses.
    #[prost(uint32, tag = "3")]
    pub to: u32,
}

/// A rare request: joining, gossip, administration.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Empty from a node that has not joined yet and from the command line.
    #[prost(string, tag = "1")]
    pub cluster: String,
    #[prost(oneof = "Ask", tags = "2, 3, 4, 5, 6")]
    pub ask: Option<Ask>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    #[prost(message, tag = "2")]
    Join(Join),
    #[prost(message, tag = "3")]
    Gossip(Gossip),
    #[prost(message, tag = "4")]
    Status(Status),
    #[prost(message, tag = "5")]
    Decommission(Decommission),
    #[prost(message, tag = "6")]
    Check(Check),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5")]
    pub answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    #[prost(message, tag = "1")]
    Joined(Joined),
    #[prost(message, tag = "2")]
    Gossip(Gossip),
    #[prost(message, tag = "3")]
    Status(StatusAnswer),
    #[prost(message, tag = "4")]
    Decommission(DecommissionAnswer),
    #[prost(message, tag = "5")]
    Check(CheckAnswer),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Join {
    /// Where the new node listens for other nodes.
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Joined {
    #[prost(string, tag = "1")]
    pub cluster: String,
    #[prost(uint32, tag = "2")]
    pub node: u32,
    #[prost(message, optional, tag = "3")]
    pub gossip: Option<Gossip>,
}

/// What every node tells of itself, and passes on of others: the entry with the highest `(start, beat)` wins.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeState {
    #[prost(uint32, tag = "1")]
    pub node: u32,
    #[prost(string, tag = "2")]
    pub address: String,
    #[prost(uint64, tag = "3")]
    pub started_ms: u64,
    /// Counts up while the node lives.
    #[prost(uint64, tag = "4")]
    pub beat: u64,
    #[prost(bool, tag = "5")]
    pub draining: bool,
    #[prost(bool, tag = "6")]
    pub decommissioning: bool,
    #[prost(uint32, tag = "7")]
    pub ranges: u32,
    #[prost(uint32, tag = "8")]
    pub leases: u32,
    #[prost(uint64, tag = "9")]
    pub bytes: u64,
    #[prost(string, tag = "10")]
    pub sql_address: String,
    #[prost(string, tag = "11")]
    pub version: String,
    /// When the node's oldest open transaction began, nanoseconds since the Unix epoch; 0 if there is none.
    #[prost(uint64, tag = "12")]
    pub oldest_transaction: u64,
    /// Counts the starts of the node's store.
    #[prost(uint64, tag = "13")]
    pub start: u64,
    /// The node's clock cannot be relied upon, and it serves nothing.
    #[prost(bool, tag = "14")]
    pub fenced: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Gossip {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<NodeState>,
    /// The descriptor of the first range, from which all others are found, as its own layer encodes it.
    #[prost(bytes = "bytes", tag = "2")]
    pub first_range: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusAnswer {
    #[prost(string, tag = "1")]
    pub cluster: String,
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<NodeStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeStatus {
    #[prost(message, optional, tag = "1")]
    pub state: Option<NodeState>,
    /// Milliseconds since the answering node last heard of a new beat.
    #[prost(uint64, tag = "2")]
    pub silent_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Decommission {
    #[prost(uint32, tag = "1")]
    pub node: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DecommissionAnswer {
    /// Replicas that the node still holds.
    #[prost(uint32, tag = "1")]
    pub replicas_left: u32,
}

/// Looks at a part of what is stored. The asker drives it from part to part, so the node holds nothing in between.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Check {
    /// The timestamp at which to look; both 0: now.
    #[prost(uint64, tag = "1")]
    pub wall: u64,
    #[prost(uint32, tag = "2")]
    pub logical: u32,
    /// Where the part begins, as the last answer said; empty: the ranges and their locks, which come before all rows.
    #[prost(bytes = "bytes", tag = "3")]
    pub from: bytes::Bytes,
    /// Locks of ended transactions may stand for so many milliseconds.
    #[prost(uint64, tag = "4")]
    pub locks_older_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckAnswer {
    /// When it was looked.
    #[prost(uint64, tag = "1")]
    pub wall: u64,
    #[prost(uint32, tag = "2")]
    pub logical: u32,
    /// Where the next part begins; empty: this was the last one.
    #[prost(bytes = "bytes", tag = "3")]
    pub next: bytes::Bytes,
    /// What is not as it should be.
    #[prost(string, repeated, tag = "4")]
    pub violations: Vec<String>,
    #[prost(uint64, tag = "5")]
    pub ranges: u64,
    /// Rows and entries of indexes.
    #[prost(uint64, tag = "6")]
    pub looked_at: u64,
    /// The versions of that time are gone: ask again for this part at a newer one.
    #[prost(bool, tag = "7")]
    pub too_old: bool,
}

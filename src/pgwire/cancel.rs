//! Cancel requests: who may stop which session's statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_sql::session::CancelHandle;
use parking_lot::Mutex;

/// The sessions of a node by process id, with the secret that a cancel request must show.
#[derive(Default)]
pub struct CancelRegistry {
    sessions: Mutex<(u32, BTreeMap<u32, (u32, Arc<CancelHandle>)>)>,
}

impl CancelRegistry {
    /// Gives the session's (process id, secret).
    pub fn register(&self, secret: u32, handle: Arc<CancelHandle>) -> (u32, u32) {
        let mut s = self.sessions.lock();
        s.0 = s.0.wrapping_add(1).max(1);
        while s.1.contains_key(&s.0) {
            s.0 = s.0.wrapping_add(1).max(1);
        }
        let pid = s.0;
        s.1.insert(pid, (secret, handle));
        (pid, secret)
    }

    pub fn unregister(&self, pid: u32) {
        self.sessions.lock().1.remove(&pid);
    }

    /// Silently does nothing for a wrong secret, as the protocol asks.
    pub fn cancel(&self, pid: u32, secret: u32) {
        if let Some((s, handle)) = self.sessions.lock().1.get(&pid)
            && *s == secret
        {
            handle.cancel();
        }
    }

    /// Stops every statement, at shutdown.
    pub fn cancel_all(&self) {
        for (_, handle) in self.sessions.lock().1.values() {
            handle.cancel();
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.lock().1.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

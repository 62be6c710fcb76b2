//! How many connections each address may hold at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// The connections of a listener, counted by address.
#[derive(Clone)]
pub(in crate::source) struct ConnectionLimit {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// For one address; 0 for no limit.
    connections_max: usize,
}

/// A connection that is counted; no more when this is dropped.
pub(in crate::source) struct ConnectionPermit {
    limit: ConnectionLimit,
    address: IpAddr,
}

impl ConnectionLimit {
    pub(in crate::source) fn new(connections_max: usize) -> ConnectionLimit {
        ConnectionLimit {
            open: Arc::default(),
            connections_max,
        }
    }

    /// Counts a connection from `address`; none when it holds as many as it may.
    pub(in crate::source) fn admit(&self, address: IpAddr) -> Option<ConnectionPermit> {
        let mut open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        let held = open.entry(address).or_default();
        if self.connections_max > 0 && *held >= self.connections_max {
            return None;
        }
        *held += 1;
        Some(ConnectionPermit {
            limit: self.clone(),
            address,
        })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(held) = open.get_mut(&self.address) {
            *held -= 1;
            if *held == 0 {
                open.remove(&self.address);
            }
        }
    }
}

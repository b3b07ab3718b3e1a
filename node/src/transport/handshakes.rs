//! Places for handshakes that are not finished, of which one address has a share.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Counts unfinished handshakes by address.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<BTreeMap<IpAddr, usize>>);

impl Handshakes {
    /// Takes a place for `ip`, or refuses. The second value is how many are open now.
    pub(super) fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        max: usize,
        max_per_ip: usize,
    ) -> Option<(HandshakeSlot, usize)> {
        let mut open = self.0.lock();
        let total: usize = open.values().sum();
        let from_ip = open.get(&ip).copied().unwrap_or(0);
        if total >= max || from_ip >= max_per_ip {
            return None;
        }
        open.insert(ip, from_ip + 1);
        Some((HandshakeSlot { handshakes: self.clone(), ip }, total + 1))
    }
}

/// A place among the unfinished handshakes; given back on drop.
#[derive(Debug)]
pub(super) struct HandshakeSlot {
    handshakes: Arc<Handshakes>,
    ip: IpAddr,
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        let mut open = self.handshakes.0.lock();
        match open.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_bounded_per_address_and_in_total() {
        let handshakes = Arc::new(Handshakes::default());
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let first = handshakes.enter(ip(1), 3, 2).expect("free").0;
        let _second = handshakes.enter(ip(1), 3, 2).expect("free");
        assert!(handshakes.enter(ip(1), 3, 2).is_none(), "two per address");
        let (_third, open) = handshakes.enter(ip(2), 3, 2).expect("free");
        assert_eq!(open, 3);
        assert!(handshakes.enter(ip(3), 3, 2).is_none(), "three in total");
        drop(first);
        assert!(handshakes.enter(ip(1), 3, 2).is_some());
    }
}

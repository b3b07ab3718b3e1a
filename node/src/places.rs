//! Places for strangers, of which one host has a share: connections, and handshakes that are not finished.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Counts the places that are taken, by host.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<BTreeMap<IpAddr, usize>>);

impl Places {
    /// Takes one of `max` places, of which one host holds at most `max_per_host`. `None` if that is one too
    /// many; the second value is how many are taken now.
    pub(crate) fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        max: usize,
        max_per_host: usize,
    ) -> Option<(Place, usize)> {
        let host = host(ip);
        let mut taken = self.0.lock();
        let total: usize = taken.values().sum();
        let of_host = taken.get(&host).copied().unwrap_or(0);
        if total >= max || of_host >= max_per_host {
            return None;
        }
        taken.insert(host, of_host + 1);
        Some((Place { places: Arc::clone(self), host }, total + 1))
    }
}

/// Whoever has an IPv6 address has its whole /64 network.
fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

/// A place; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    host: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        match taken.get_mut(&self.host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_per_host_and_come_back() {
        let places = Arc::new(Places::default());
        let enter = |ip: &str| places.enter(ip.parse().expect("an address"), 3, 2);
        let (one, taken) = enter("10.0.0.1").expect("free");
        assert_eq!(taken, 1);
        let two = enter("::ffff:10.0.0.1").expect("free");
        assert!(enter("10.0.0.1").is_none(), "one host holds at most its share");
        let (_three, taken) = enter("2001:db8::1").expect("free");
        assert_eq!(taken, 3);
        assert!(enter("10.0.0.2").is_none(), "all taken");
        drop(one);
        assert!(enter("10.0.0.1").is_some(), "a place came back");
        let _four = enter("2001:db8::2").expect("free");
        drop(two);
        assert!(enter("2001:db8::3").is_none(), "one network is one host");
        assert!(enter("2001:db8:0:1::1").is_some(), "another network");
    }
}

//! What a run costs: CPU time of processes, and bytes on the wire.

use eyre::{Result, WrapErr as _, ensure};
use serde::Serialize;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Sub,
    time::Duration,
};

/// How long a member's metrics page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest metrics page that is read, in bytes.
const MAX_PAGE_BYTES: u64 = 4 << 20;
/// CPU time in `/proc` is counted in ticks of 10 ms on every Linux (`USER_HZ`).
const TICK_US: u64 = 10_000;

/// CPU time so far, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// Of all members.
    pub members_us: u64,
    /// Of this process.
    pub generator_us: u64,
    /// Of the whole machine, stolen time included.
    pub machine_us: u64,
}

impl Cpu {
    /// Reads `/proc` for the members with these process numbers.
    pub fn now(members: &[u32]) -> Result<Self> {
        let mut members_us = 0;
        for id in members {
            members_us += process_us(&format!("/proc/{id}/stat"))?;
        }
        let machine = fs::read_to_string("/proc/stat").wrap_err("/proc/stat")?;
        Ok(Self {
            members_us,
            generator_us: process_us("/proc/self/stat")?,
            machine_us: machine_us(&machine)
                .ok_or_else(|| eyre::eyre!("/proc/stat has no cpu line"))?,
        })
    }

    /// What neither members nor generator used.
    pub fn others_us(&self) -> u64 {
        self.machine_us.saturating_sub(self.members_us + self.generator_us)
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            members_us: self.members_us.saturating_sub(earlier.members_us),
            generator_us: self.generator_us.saturating_sub(earlier.generator_us),
            machine_us: self.machine_us.saturating_sub(earlier.machine_us),
        }
    }
}

fn process_us(path: &str) -> Result<u64> {
    let stat = fs::read_to_string(path).wrap_err_with(|| path.to_owned())?;
    user_and_system(&stat).ok_or_else(|| eyre::eyre!("{path} has no CPU times"))
}

/// Fields 14 and 15 of `/proc/<pid>/stat`: user and system time.
fn user_and_system(stat: &str) -> Option<u64> {
    // The second field is the program's name in brackets, and may hold anything.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks * TICK_US)
}

/// Time of the machine that was not idle: `cpu user nice system idle iowait irq softirq steal …`.
fn machine_us(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> =
        line.split_whitespace().map(|field| field.parse().unwrap_or_default()).take(8).collect();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((fields.iter().sum::<u64>() - idle) * TICK_US)
}

/// What a member's metrics say, as far as it is needed here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Bytes in UDP datagrams sent to peers: QUIC with all that it adds.
    pub wire_sent_bytes: u64,
    /// Bytes of messages sent to peers.
    pub payload_sent_bytes: u64,
    /// Envelopes executed, skipped or undecryptable.
    pub ended: u64,
}

impl Page {
    /// Asks the member whose metrics are at `address`.
    pub fn read(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, PAGE_TIMEOUT)?;
        stream.set_read_timeout(Some(PAGE_TIMEOUT))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.take(MAX_PAGE_BYTES).read_to_string(&mut text)?;
        ensure!(text.starts_with("HTTP/1.1 200"), "no metrics at {address}");
        Ok(Self::of(&text))
    }

    fn of(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let value = value as u64;
            let (family, labels) = name.split_once('{').unwrap_or((name, ""));
            match family {
                "blindfold_transport_wire_sent_bytes_total" => page.wire_sent_bytes += value,
                "blindfold_transport_sent_bytes_total" => page.payload_sent_bytes += value,
                crate::metrics::ENVELOPES
                    if ["executed", "skipped", "undecryptable"]
                        .iter()
                        .any(|end| labels.contains(&format!("\"{end}\""))) =>
                {
                    page.ended += value;
                }
                _ => {}
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_time() {
        let before = Cpu::now(&[std::process::id()]).expect("Linux");
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(60) {
            std::hint::black_box(0u64);
        }
        let spent = Cpu::now(&[std::process::id()]).expect("Linux") - before;
        assert!(
            spent.members_us > 0 && spent.generator_us > 0 && spent.machine_us > 0,
            "{spent:?}"
        );
    }

    #[test]
    fn proc_is_read_as_documented() {
        let stat = "42 (a ) b) S 1 1 1 0 -1 0 0 0 0 0 700 30 0 0 20 0 9 0 1 2 3";
        assert_eq!(user_and_system(stat), Some(7_300_000));
        assert_eq!(user_and_system("42 (a"), None);
        assert_eq!(machine_us("cpu  10 1 5 900 50 2 3 4 0 0\ncpu0 1"), Some(250_000));
        assert_eq!(machine_us("intr 1"), None);
    }

    #[test]
    fn a_page_is_summed_over_peers() {
        let page = Page::of(
            "# TYPE x counter\n\
             blindfold_transport_wire_sent_bytes_total{peer=\"a\"} 100\n\
             blindfold_transport_wire_sent_bytes_total{peer=\"b\"} 20\n\
             blindfold_transport_sent_bytes_total{channel=\"votes\",peer=\"a\"} 7\n\
             blindfold_mempool_envelopes_total{status=\"executed\"} 5\n\
             blindfold_mempool_envelopes_total{status=\"skipped\"} 1\n\
             blindfold_mempool_envelopes_total{status=\"admitted\"} 50\n",
        );
        assert_eq!(page, Page { wire_sent_bytes: 120, payload_sent_bytes: 7, ended: 6 });
    }
}

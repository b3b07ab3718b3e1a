//! Writes down everything that leaves a gateway, and looks for plaintext in it.

use std::{
    collections::HashSet,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use alloy_primitives::Bytes;
use serde_json::Value;

/// Length of the pieces that are looked for, in bytes.
const PIECE_BYTES: usize = 16;
/// Different bytes that a piece must have: padding says nothing.
const MIN_DISTINCT: usize = 8;

/// What left, one entry a connection and direction, or a message.
#[derive(Clone, Default)]
pub struct Capture {
    http: Arc<Mutex<Vec<Vec<u8>>>>,
    peers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// How much was captured, in bytes.
#[derive(Debug)]
pub struct Captured {
    pub http: usize,
    pub peers: usize,
}

impl Capture {
    /// A proxy in front of `target` that records both directions; its address.
    pub fn proxy(&self, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::clone(&self.http);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else { continue };
                let ends = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (up, down) = (Arc::clone(&record), Arc::clone(&record));
                thread::spawn(move || copy(client, server, &up));
                thread::spawn(move || copy(ends.1, ends.0, &down));
            }
        });
        address
    }

    /// Records a message to a peer, as it is before encryption.
    pub fn record_peer(&self, message: &[u8]) {
        self.peers.lock().unwrap().push(message.to_vec());
    }

    /// Sends a request through a proxy and does not wait for what it says.
    pub fn post(&self, proxy: &SocketAddr, body: &Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(proxy).unwrap();
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }

    pub fn bytes(&self) -> Captured {
        let sum = |all: &Mutex<Vec<Vec<u8>>>| all.lock().unwrap().iter().map(Vec::len).sum();
        Captured { http: sum(&self.http), peers: sum(&self.peers) }
    }

    /// A piece of a secret that left, as it is or as hex.
    pub fn find(&self, secrets: &[Bytes]) -> Option<String> {
        let telling = |piece: &&[u8]| piece.iter().collect::<HashSet<_>>().len() >= MIN_DISTINCT;
        let pieces: HashSet<&[u8]> =
            secrets.iter().flat_map(|secret| secret.windows(PIECE_BYTES)).filter(telling).collect();
        assert!(!pieces.is_empty());
        let (http, peers) = (self.http.lock().unwrap(), self.peers.lock().unwrap());
        http.iter().chain(peers.iter()).find_map(|stream| {
            readings(stream).into_iter().find_map(|reading| {
                let piece = reading.windows(PIECE_BYTES).find(|piece| pieces.contains(piece))?;
                Some(format!("{piece:02x?} in a stream of {} bytes", stream.len()))
            })
        })
    }
}

/// A stream as it is, and every run of hex digits in it as bytes, from its first and second digit.
fn readings(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![stream.to_vec()];
    let runs = stream.split(|byte| !byte.is_ascii_hexdigit());
    for run in runs.filter(|run| run.len() > 2 * PIECE_BYTES) {
        for from in [0, 1] {
            let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
            let pairs = run[from..].chunks_exact(2);
            all.push(pairs.map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect());
        }
    }
    all
}

fn copy(mut from: TcpStream, mut to: TcpStream, record: &Mutex<Vec<Vec<u8>>>) {
    let at = {
        let mut record = record.lock().unwrap();
        record.push(Vec::new());
        record.len() - 1
    };
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        record.lock().unwrap()[at].extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

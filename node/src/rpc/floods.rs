//! Slow, greedy and nosy clients on the real port. Every limit is small here, and nothing depends on
//! how fast anything is: each test waits for the server to act.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{RpcServer, double::TestNode, reasons};
use crate::config::RpcConfig;

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// `timeout_ms` of the servers here.
const TIMEOUT_MS: u64 = 300;

async fn server(adjust: impl FnOnce(&mut RpcConfig)) -> RpcServer {
    let mut config = RpcConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    adjust(&mut config);
    RpcServer::start(config, TestNode::new(1)).await.unwrap()
}

/// With a small buffer, so that what is not read soon stays at the server.
async fn connect(server: &RpcServer) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.connect(server.local_addr()).await.unwrap()
}

/// From another address of this machine.
async fn connect_from(ip: [u8; 4], server: &RpcServer) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((ip, 0))).unwrap();
    socket.connect(server.local_addr()).await.unwrap()
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const LOCAL: &str = "host: localhost\r\n";
const CHAIN_ID: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;

/// Status, head and JSON of one answer.
async fn answer(stream: &mut TcpStream) -> (u16, String, Value) {
    timeout(PATIENCE, async {
        let mut text = Vec::new();
        loop {
            let head_end = text.windows(4).position(|at| at == b"\r\n\r\n");
            if let Some(at) = head_end {
                let head = String::from_utf8_lossy(&text[..at]).to_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                let body = &text[at + 4..];
                if body.len() >= length {
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    let json = serde_json::from_slice(&body[..length]).unwrap_or(Value::Null);
                    return (status, head, json);
                }
            }
            let read = stream.read_buf(&mut text).await.unwrap();
            assert!(read > 0, "hung up after {:?}", String::from_utf8_lossy(&text));
        }
    })
    .await
    .expect("no answer")
}

async fn ask(stream: &mut TcpStream, headers: &str, body: &str) -> (u16, String, Value) {
    stream.write_all(post(headers, body).as_bytes()).await.unwrap();
    answer(stream).await
}

/// Waits until the server hangs up.
async fn hung_up(stream: &mut TcpStream) {
    let mut sink = vec![0; 64 << 10];
    timeout(PATIENCE, async {
        while matches!(stream.read(&mut sink).await, Ok(read) if read > 0) {}
    })
    .await
    .expect("the server keeps the connection");
}

/// The port works for everybody else.
async fn serves(server: &RpcServer) {
    let (status, _, json) = ask(&mut connect(server).await, LOCAL, CHAIN_ID).await;
    assert_eq!(status, 200);
    assert!(json["result"].is_string(), "{json}");
}

fn expect_refusal(json: &Value, reason: &str) {
    let expected = reasons::find(reason).unwrap();
    assert_eq!(json["error"]["code"], expected.code, "{json}");
    assert_eq!(json["error"]["data"], json!({"reason": reason, "fault": expected.fault}), "{json}");
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let server = server(|_| {}).await;
    let mut silent = connect(&server).await;
    let mut slow = connect(&server).await;
    slow.write_all(b"POST / HTTP/1.1\r\nhost: local").await.unwrap();
    let mut idle = connect(&server).await;
    assert_eq!(ask(&mut idle, LOCAL, CHAIN_ID).await.0, 200);
    for stream in [&mut silent, &mut slow, &mut idle] {
        hung_up(stream).await;
    }
    serves(&server).await;
}

/// The classic: one header byte every now and then never completes a head.
#[tokio::test]
async fn a_trickling_head_is_cut_off() {
    let server = server(|_| {}).await;
    let mut slow = connect(&server).await;
    slow.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    timeout(PATIENCE, async {
        while slow.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the server keeps the connection");
    serves(&server).await;
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let server = server(|_| {}).await;
    let mut slow = connect(&server).await;
    let whole = post(LOCAL, CHAIN_ID);
    slow.write_all(&whole.as_bytes()[..whole.len() - 1]).await.unwrap();
    let (status, _, json) = answer(&mut slow).await;
    assert_eq!(status, 408);
    expect_refusal(&json, reasons::REQUEST_TOO_SLOW);
    hung_up(&mut slow).await;
    serves(&server).await;
}

#[tokio::test]
async fn a_large_body_is_refused_unread() {
    let server = server(|config| config.max_request_bytes = 1_000).await;
    let mut announced = connect(&server).await;
    let head = format!("POST / HTTP/1.1\r\n{LOCAL}content-length: 4000000000\r\n\r\n");
    announced.write_all(head.as_bytes()).await.unwrap();
    let (status, _, json) = answer(&mut announced).await;
    assert_eq!(status, 413);
    expect_refusal(&json, reasons::REQUEST_TOO_LARGE);

    let mut chunked = connect(&server).await;
    let head = format!("POST / HTTP/1.1\r\n{LOCAL}transfer-encoding: chunked\r\n\r\n");
    chunked.write_all(head.as_bytes()).await.unwrap();
    chunked.write_all(format!("3e9\r\n{}\r\n", "{".repeat(0x3e9)).as_bytes()).await.unwrap();
    let (status, _, json) = answer(&mut chunked).await;
    assert_eq!(status, 413);
    expect_refusal(&json, reasons::REQUEST_TOO_LARGE);

    let mut head = connect(&server).await;
    let endless = format!("POST / HTTP/1.1\r\n{LOCAL}x: {}", "y".repeat(200_000));
    let _ = head.write_all(endless.as_bytes()).await;
    hung_up(&mut head).await;
    serves(&server).await;
}

#[tokio::test]
async fn a_flood_of_connections_is_refused_with_a_reason() {
    let server = server(|config| {
        (config.max_connections, config.max_connections_per_ip) = (3, 2);
        config.timeout_ms = 60_000;
    })
    .await;
    let mut first = connect(&server).await;
    let mut second = connect(&server).await;
    assert_eq!(ask(&mut first, LOCAL, CHAIN_ID).await.0, 200);
    assert_eq!(ask(&mut second, LOCAL, CHAIN_ID).await.0, 200);
    for _ in 0..100 {
        let mut over = connect(&server).await;
        let (status, _, json) = answer(&mut over).await;
        assert_eq!(status, 503);
        expect_refusal(&json, reasons::TOO_MANY_CONNECTIONS);
    }
    // Not at the cost of others, nor of those that are in.
    let mut other = connect_from([127, 0, 0, 2], &server).await;
    assert_eq!(ask(&mut other, LOCAL, CHAIN_ID).await.0, 200);
    assert_eq!(answer(&mut connect_from([127, 0, 0, 3], &server).await).await.0, 503, "all taken");
    assert_eq!(ask(&mut first, LOCAL, CHAIN_ID).await.0, 200);
    // A place that is given up is free again.
    drop(second);
    timeout(PATIENCE, async {
        while ask_or_refused(&mut connect(&server).await).await != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the place does not come back");
}

async fn ask_or_refused(stream: &mut TcpStream) -> u16 {
    let _ = stream.write_all(post(LOCAL, CHAIN_ID).as_bytes()).await;
    answer(stream).await.0
}

#[tokio::test]
async fn web_pages_and_foreign_names_are_refused() {
    let server = server(|config| {
        config.allowed_origins = vec!["https://wallet.example".to_owned()];
        config.allowed_hosts = vec!["node.example".to_owned()];
    })
    .await;
    let origin = |origin: &str| format!("{LOCAL}origin: {origin}\r\n");
    for (headers, reason) in [
        (origin("https://evil.example"), reasons::ORIGIN_NOT_ALLOWED),
        (origin("null"), reasons::ORIGIN_NOT_ALLOWED),
        ("host: rebound.example\r\n".to_owned(), reasons::HOST_NOT_ALLOWED),
        (String::new(), reasons::HOST_NOT_ALLOWED),
    ] {
        let (status, _, json) = ask(&mut connect(&server).await, &headers, CHAIN_ID).await;
        assert_eq!(status, 403, "{headers}");
        expect_refusal(&json, reason);
        // A WebSocket is refused by the same rule, as no browser guards those.
        let mut stream = connect(&server).await;
        stream.write_all(upgrade(&headers).as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.0, 403, "{headers}");
    }
    let allowed = origin("https://wallet.example");
    let (status, head, _) = ask(&mut connect(&server).await, &allowed, CHAIN_ID).await;
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: https://wallet.example"), "{head}");
    let mut preflight = connect(&server).await;
    preflight.write_all(format!("OPTIONS / HTTP/1.1\r\n{allowed}\r\n").as_bytes()).await.unwrap();
    let (status, head, _) = answer(&mut preflight).await;
    assert_eq!(status, 204);
    assert!(head.contains("access-control-allow-headers: content-type"), "{head}");
    let named = ask(&mut connect(&server).await, "host: node.example:99\r\n", CHAIN_ID).await;
    assert_eq!(named.0, 200);
}

fn upgrade(headers: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\n{headers}connection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// A text frame with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x81, 0x80 | 126], &length[..], &[0; 4], text.as_bytes()].concat()
}

async fn websocket(server: &RpcServer) -> TcpStream {
    let mut stream = connect(server).await;
    stream.write_all(upgrade(LOCAL).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.0, 101);
    stream
}

/// Who answers no ping is gone, also in the middle of a message.
#[tokio::test]
async fn a_silent_websocket_is_dropped() {
    let server = server(|_| {}).await;
    let mut silent = websocket(&server).await;
    let mut stuck = websocket(&server).await;
    let whole = frame(CHAIN_ID);
    stuck.write_all(&whole[..whole.len() - 1]).await.unwrap();
    hung_up(&mut silent).await;
    hung_up(&mut stuck).await;
    serves(&server).await;
}

/// Requests without end from a client that reads no answer: the server stops reading them, so that what it
/// holds for this client stays small, and then cuts it off.
#[tokio::test]
async fn who_does_not_read_answers_is_cut_off() {
    /// What the system's socket buffers may swallow, and some.
    const ACCEPTED_BYTES: usize = 24 << 20;
    let server = server(|_| {}).await;
    let pending = r#"{"jsonrpc":"2.0","id":1,"method":"sealed_getPending","params":[]}"#;
    for (over_websocket, request) in [
        (false, post(LOCAL, pending).into_bytes()),
        (true, frame(pending)),
        // No call at all, so no limit on calls helps.
        (true, frame("x")),
    ] {
        let mut greedy = match over_websocket {
            true => websocket(&server).await,
            false => connect(&server).await,
        };
        let request = request.repeat(100);
        let accepted = timeout(PATIENCE, async {
            let mut accepted = 0;
            while greedy.write_all(&request).await.is_ok() {
                accepted += request.len();
            }
            accepted
        })
        .await
        .expect("the server keeps reading or keeps the connection");
        assert!(accepted < ACCEPTED_BYTES, "{accepted} bytes of unanswered requests");
        serves(&server).await;
    }
}

//! The client against a server that answers in raw bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::deliver::tests::options;
use crate::secret::Token;

struct Server {
    base_url: String,
    connections: Arc<AtomicUsize>,
    /// The last request, head and body.
    request: Arc<tokio::sync::Mutex<String>>,
}

/// Answers each request with `answer`; `None` closes the connection instead.
async fn server(answer: Option<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let request = Arc::<tokio::sync::Mutex<String>>::default();
    let (count, seen) = (Arc::clone(&connections), Arc::clone(&request));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let (answer, seen) = (answer.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    *seen.lock().await = String::from_utf8_lossy(&buffer[..n]).into_owned();
                    let Some(answer) = &answer else { return };
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Server {
        base_url,
        connections,
        request,
    }
}

async fn closing_server() -> Server {
    server(None).await
}

fn http(base_url: &str) -> Http {
    let mut options = options();
    options.base_url = base_url.to_owned();
    options.request_timeout = Duration::from_millis(500);
    options.test = true;
    Http::new(
        &options,
        SharedToken::new(Token::new("pina_SECRET")),
        Clock::system(),
    )
    .unwrap()
}

async fn send(base_url: &str) -> Result<Reply, NoReply> {
    http(base_url).send(Bytes::from_static(b"{}"), false).await
}

fn response(status: &str, headers: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

#[tokio::test]
async fn a_request_carries_token_path_and_type_and_the_connection_is_kept() {
    let headers = "x-ratelimit-remaining: 7\r\nx-ratelimit-reset: 30\r\n";
    let server = server(response("200 OK", headers, "{}")).await;
    let client = http(&server.base_url);
    for _ in 0..3 {
        let reply = client
            .send(Bytes::from_static(b"{\"data\":[]}"), false)
            .await;
        let reply = reply.unwrap();
        assert_eq!((reply.status, &*reply.body), (200, &b"{}"[..]));
        assert_eq!(reply.signals.remaining, Some(7));
        assert_eq!(reply.signals.reset, Some(Duration::from_secs(30)));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let request = server.request.lock().await.to_lowercase();
    assert!(request.starts_with("post /ad_accounts/1/events?test=true http/1.1"));
    assert!(request.contains("authorization: bearer pina_secret"));
    assert!(request.contains("content-type: application/json"));
    assert!(request.ends_with("{\"data\":[]}"));
}

/// A kept connection leads where the name led once.
#[tokio::test]
async fn a_probe_and_what_follows_a_failure_or_a_reload_find_the_way_anew() {
    let server = server(response("200 OK", "", "{}")).await;
    let client = http(&server.base_url);
    let connections = || server.connections.load(Ordering::SeqCst);
    for (anew, expected) in [(false, 1), (false, 1), (true, 2), (false, 2), (true, 3)] {
        client.send(Bytes::new(), anew).await.unwrap();
        assert_eq!(connections(), expected);
    }
    client.renew().await;
    for _ in 0..2 {
        client.send(Bytes::new(), false).await.unwrap();
        assert_eq!(connections(), 4);
    }
    let closing = closing_server().await;
    let client = http(&closing.base_url);
    client.send(Bytes::new(), false).await.unwrap_err();
    assert!(client.is_stale.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_swapped_token_goes_with_the_next_request() {
    let server = server(response("200 OK", "", "{}")).await;
    let client = http(&server.base_url);
    client.token.swap(Token::new("pina_NEW"));
    client.send(Bytes::new(), false).await.unwrap();
    assert!(server.request.lock().await.contains("Bearer pina_NEW"));
}

#[tokio::test]
async fn an_answer_that_quotes_the_token_is_read_without_it() {
    let body = r#"{"code":2,"message":"Token pina_NEW-SECRET is bad: pina_NEW-SECRET"}"#;
    let server = server(response("401 Unauthorized", "", body)).await;
    let client = http(&server.base_url);
    client.token.swap(Token::new("pina_NEW-SECRET"));
    let reply = client.send(Bytes::new(), false).await.unwrap();
    let text = std::str::from_utf8(&reply.body).unwrap();
    assert_eq!(text, r#"{"code":2,"message":"Token … is bad: …"}"#);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let elsewhere = server(response("200 OK", "", "{}")).await;
    let location = format!("location: {}\r\n", elsewhere.base_url);
    let server = server(response("307 Temporary Redirect", &location, "")).await;
    assert_eq!(send(&server.base_url).await.unwrap().status, 307);
    assert_eq!(elsewhere.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let lost = send(&format!("http://{address}")).await.unwrap_err();
    assert!(matches!(&lost, NoReply::NotSent(words) if words.contains("refused")));
    assert!(!format!("{lost:?}").contains("SECRET"));
}

#[tokio::test]
async fn a_closed_connection_silence_and_a_broken_answer_are_unknown() {
    let closed = server(None).await;
    let silent = server(Some(String::new())).await;
    let broken = server(Some(
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_owned(),
    ))
    .await;
    let garbage = server(Some("hello\r\n\r\n".to_owned())).await;
    for server in [closed, silent, broken, garbage] {
        let lost = send(&server.base_url).await.unwrap_err();
        assert!(matches!(lost, NoReply::Unknown(_)), "{lost:?}");
        let connections = server.connections.load(Ordering::SeqCst);
        assert_eq!(connections, 1, "it was not tried again by itself");
    }
}

#[tokio::test]
async fn a_refusal_whose_body_breaks_off_is_a_refusal_all_the_same() {
    let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 99\r\n\r\n{";
    let server = server(Some(answer.to_owned())).await;
    assert_eq!(send(&server.base_url).await.unwrap().status, 401);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let body = "x".repeat(LONGEST_ANSWER + 1);
    let server = server(response("200 OK", "", &body)).await;
    let mut options = options();
    options.base_url = server.base_url.clone();
    let client = Http::new(&options, SharedToken::new(Token::new("t")), Clock::system()).unwrap();
    let lost = client.send(Bytes::new(), false).await.unwrap_err();
    assert_eq!(lost, NoReply::Unknown("an endless answer".into()));
}

#[test]
fn only_https_or_loopback_and_only_an_account_id() {
    let build = |base_url: &str, id: &str| {
        let mut options = options();
        options.base_url = base_url.to_owned();
        options.ad_account_id = id.to_owned();
        endpoint(&options).map(|url| url.to_string())
    };
    assert_eq!(
        build("https://api.pinterest.com/v5/", "549755885175").unwrap(),
        "https://api.pinterest.com/v5/ad_accounts/549755885175/events"
    );
    for loopback in ["http://localhost:1", "http://127.9.9.9", "http://[::1]:80"] {
        build(loopback, "1").unwrap();
    }
    for wrong in [
        "http://api.pinterest.com/v5",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "api.pinterest.com",
        "https://user@api.pinterest.com",
        "https://api.pinterest.com/?x=1",
        "",
    ] {
        let error = build(wrong, "1").unwrap_err();
        assert!(matches!(error, ClientError::BaseUrl { .. }), "{wrong}");
    }
    for wrong in ["", "12a", "1234567890123456789", "../1"] {
        let error = build("https://api.pinterest.com/v5", wrong).unwrap_err();
        assert!(matches!(error, ClientError::AdAccountId(_)), "{wrong}");
    }
}

//! Against servers that speak as much of the protocol as a connection asks for.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::secret::Token;

/// Nothing here takes as long.
const LONG: Duration = Duration::from_secs(20);

/// What a server says of itself.
#[derive(Clone, Copy)]
enum Says {
    Primary(&'static str),
    /// Of this version.
    Old(&'static str),
    ReadOnly,
    Standby,
    /// A timeline is not told.
    Managed,
    /// Nobody is let in.
    No(&'static str),
    Nothing,
}

struct Server {
    port: u16,
    /// The texts of the queries, and where a connection ended.
    heard: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, says, tell.clone()));
            }
        });
        Self { port, heard }
    }

    async fn hear(&mut self) -> String {
        let heard = timeout(LONG, self.heard.recv()).await;
        heard.expect("in time").expect("a server")
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag], &length[..], body].concat()
}

fn done(tag: &str) -> Vec<u8> {
    [
        message(b'C', format!("{tag}\0").as_bytes()),
        message(b'Z', b"I"),
    ]
    .concat()
}

fn table(texts: &[&str]) -> Vec<u8> {
    let count = (texts.len() as u16).to_be_bytes();
    let (mut names, mut values) = (count.to_vec(), count.to_vec());
    for text in texts {
        names.extend(b"a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
        values.extend((text.len() as u32).to_be_bytes());
        values.extend(text.as_bytes());
    }
    [
        message(b'T', &names),
        message(b'D', &values),
        done("SELECT 1"),
    ]
    .concat()
}

fn said(tag: u8, code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0Mof the role SECRET\0\0");
    message(tag, fields.as_bytes())
}

async fn serve(mut stream: TcpStream, says: Says, tell: mpsc::UnboundedSender<String>) {
    let ended = converse(&mut stream, says, &tell).await;
    let _ = tell.send(format!("ended: {:?}", ended.err().map(|e| e.kind())));
}

async fn converse(
    stream: &mut TcpStream,
    says: Says,
    tell: &mpsc::UnboundedSender<String>,
) -> io::Result<()> {
    let length = stream.read_u32().await? as usize;
    let mut startup = vec![0; length - 4];
    stream.read_exact(&mut startup).await?;
    match says {
        Says::Nothing => {
            stream.read_u8().await?;
        }
        Says::No(code) => return stream.write_all(&said(b'E', code)).await,
        _ => {}
    }
    let name = String::from_utf8_lossy(&startup).replace('\0', " ");
    let _ = tell.send(
        name.split("application_name ")
            .nth(1)
            .unwrap_or("")
            .trim()
            .to_owned(),
    );
    let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    stream.write_all(&welcome).await?;
    loop {
        let tag = stream.read_u8().await?;
        let length = stream.read_u32().await? as usize;
        let mut body = vec![0; length - 4];
        stream.read_exact(&mut body).await?;
        if tag != b'Q' {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&body);
        let text = text.trim_end_matches('\0');
        let (version, standby, read_only) = match says {
            Says::Old(version) => (version, "f", "off"),
            Says::Standby => ("150018", "t", "off"),
            Says::ReadOnly => ("150018", "f", "on"),
            _ => ("150018", "f", "off"),
        };
        let answer = match (text, says) {
            (BEGIN, _) => done("SET"),
            (WHAT, _) => table(&[version, standby, read_only]),
            (TIMELINE, Says::Primary(timeline)) => table(&[timeline]),
            (TIMELINE, Says::Managed) => [said(b'E', "0A000"), message(b'Z', b"I")].concat(),
            (TIMELINE, _) => table(&["00000001"]),
            ("COMMIT", _) => [said(b'N', "01000"), done("COMMIT")].concat(),
            ("END", _) => return Ok(()),
            // Waits for its standby.
            _ => {
                let _ = tell.send(text.to_owned());
                continue;
            }
        };
        stream.write_all(&answer).await?;
    }
}

fn place(ports: &[u16]) -> Place {
    let hosts = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let url = format!("postgres://SECRET:SECRET@{hosts}/shop?connect_timeout=2");
    Place::parse(&Token::new(url), None).expect("a place")
}

async fn open(ports: &[u16], newest: &Newest) -> Result<Link, LinkError> {
    let opened = timeout(LONG, Link::open(&place(ports), "accept", newest)).await;
    opened.expect("in time")
}

/// Refused, with these words and no secrets.
async fn refused(ports: &[u16], newest: &Newest, words: &[&str]) -> LinkError {
    let Err(error) = open(ports, newest).await else {
        panic!("connected, and should have heard {words:?}");
    };
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("SECRET"), "{text}");
    error
}

#[tokio::test]
async fn the_highest_timeline_counts_and_never_a_lower_one_than_before() {
    let (old, new) = (
        Server::start(Says::Primary("00000009")).await,
        Server::start(Says::Primary("0000000A")).await,
    );
    let newest = Newest::default();
    let link = open(&[old.port, new.port], &newest).await.expect("a link");
    assert_eq!(link.host(), format!("127.0.0.1:{}", new.port));
    let other_way = open(&[new.port, old.port], &newest).await.expect("a link");
    assert_eq!(other_way.host(), link.host());
    // The new one is gone, and the old one still says that it takes writes.
    let error = refused(
        &[old.port],
        &newest,
        &["timeline 9", "timeline 10", "restart"],
    )
    .await;
    assert!(matches!(error, LinkError::Away(_)), "{error}");
    open(&[old.port], &Newest::default())
        .await
        .expect("nothing newer is known");
}

#[tokio::test]
async fn of_equals_the_first_and_a_server_without_a_timeline_is_taken() {
    let (one, two, managed) = (
        Server::start(Says::Primary("00000002")).await,
        Server::start(Says::Primary("00000002")).await,
        Server::start(Says::Managed).await,
    );
    let link = open(&[one.port, two.port], &Newest::default())
        .await
        .expect("a link");
    assert_eq!(link.host(), format!("127.0.0.1:{}", one.port));
    let newest = Newest::default();
    for port in [managed.port, one.port, managed.port] {
        open(&[port], &newest).await.expect("a link");
    }
}

#[tokio::test]
async fn who_takes_no_writes_is_passed_over_and_told_when_nobody_does() {
    let (standby, read_only, primary) = (
        Server::start(Says::Standby).await,
        Server::start(Says::ReadOnly).await,
        Server::start(Says::Primary("00000001")).await,
    );
    let newest = Newest::default();
    let all = [standby.port, read_only.port, primary.port];
    let link = open(&all, &newest).await.expect("a link");
    assert_eq!(link.host(), format!("127.0.0.1:{}", primary.port));
    let one = refused(&[standby.port], &newest, &["is a standby", "primary"]).await;
    let two = [
        "is a standby",
        "default_transaction_read_only",
        "none of the hosts",
    ];
    let two = refused(&[standby.port, read_only.port], &newest, &two).await;
    for error in [one, two] {
        assert!(matches!(error, LinkError::Away(_)), "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_and_what_is_away_are_told_apart() {
    let newest = Newest::default();
    for (says, words) in [
        (Says::Old("140011"), "PostgreSQL 14 is there"),
        (Says::No("28P01"), "password was refused"),
        (Says::No("28000"), "pg_hba.conf"),
        (Says::No("3D000"), "no database shop"),
        (Says::No("42501"), "GRANT CONNECT"),
    ] {
        let server = Server::start(says).await;
        let error = refused(&[server.port], &newest, &[words]).await;
        assert!(matches!(error, LinkError::Config(_)), "{error}");
    }
    let free = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address").port()
    };
    for (says, words) in [
        (Some(Says::No("57P03")), "starting or stopping"),
        (Some(Says::No("53300")), "max_connections"),
        (Some(Says::Nothing), "does not answer within 2 s"),
        (None, "no server listens there"),
    ] {
        let port = match says {
            Some(says) => Server::start(says).await.port,
            None => free,
        };
        let error = refused(&[port], &newest, &[words]).await;
        assert!(matches!(error, LinkError::Away(_)), "{error}");
    }
    // One that may be well later is worth waiting for, whatever the other's password is.
    let server = Server::start(Says::No("28P01")).await;
    let both = refused(&[server.port, free], &newest, &["password", "listens"]).await;
    assert!(matches!(both, LinkError::Away(_)), "{both}");
}

#[tokio::test]
async fn a_role_is_shown_and_a_notice_is_known_before_the_answer_behind_it() {
    let mut server = Server::start(Says::Primary("00000001")).await;
    let link = open(&[server.port], &Newest::default())
        .await
        .expect("a link");
    assert_eq!(server.hear().await, "pinrelay accept");
    for count in 1..=100 {
        link.client()
            .batch_execute("COMMIT")
            .await
            .expect("an answer");
        assert_eq!(link.notices(), count);
    }
    let last = link.last_notice();
    assert_eq!(last.as_deref(), Some("01000: of the role SECRET"));
}

#[tokio::test]
async fn a_dropped_link_hangs_up_though_an_answer_is_awaited() {
    let mut server = Server::start(Says::Primary("00000001")).await;
    let link = open(&[server.port], &Newest::default())
        .await
        .expect("a link");
    assert_eq!(server.hear().await, "pinrelay accept");
    tokio::select! {
        answer = link.client().batch_execute("WAIT") => panic!("{answer:?}"),
        heard = server.hear() => assert_eq!(heard, "WAIT"),
    }
    drop(link);
    // Without a word: a Terminate would have been a message.
    assert_eq!(server.hear().await, "ended: Some(UnexpectedEof)");
}

#[tokio::test]
async fn a_broken_connection_is_told() {
    let server = Server::start(Says::Primary("00000001")).await;
    let link = open(&[server.port], &Newest::default())
        .await
        .expect("a link");
    assert!(!link.is_closed());
    let sent = link.client().batch_execute("END").await;
    assert!(sent.is_err());
    let why = timeout(LONG, link.closed()).await.expect("in time");
    assert!(!why.is_empty() && link.is_closed(), "{why}");
}

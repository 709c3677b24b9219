use super::*;

fn place(url: &str) -> Result<Place, NoPlace> {
    Place::parse(&Token::new(url), None)
}

fn good(url: &str) -> Place {
    place(url).unwrap_or_else(|e| panic!("{url}: {e}"))
}

/// Refused with these words, and nothing of the secrets.
fn refused(url: &str, words: &str) {
    let error = match place(url) {
        Ok(place) => panic!("taken: {url}: {place}"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(words), "{url}: {error}");
    assert!(!error.to_lowercase().contains("secret"), "{url}: {error}");
}

fn hosts(place: &Place) -> Vec<(String, bool)> {
    let hosts = place.hosts.iter();
    hosts.map(|host| (host.to_string(), host.tls)).collect()
}

#[test]
fn hosts_ports_and_names() {
    let place = good("postgresql://me:SECRET@db1:5433,db2,[::1]:6/shop?channel_binding=require");
    assert_eq!(
        hosts(&place),
        [
            ("db1:5433".into(), true),
            ("db2:5432".into(), true),
            ("[::1]:6".into(), false)
        ]
    );
    assert_eq!((&place.user[..], &place.database[..]), ("me", "shop"));
    let password = place.password.as_ref().map(Token::expose);
    assert_eq!(password, Some("SECRET"));
    assert_eq!(place.channel_binding, ChannelBinding::Require);
    assert_eq!(place.patience, PATIENCE);
    assert_eq!(
        place.to_string(),
        "db1:5433,db2:5432,[::1]:6, database shop"
    );
    assert!(!format!("{place:?}").contains("SECRET") && !format!("{place:?}").contains("me"));
    let one_port = good("postgres://u@/d?host=a,b&port=7&connect_timeout=9");
    assert_eq!(one_port.to_string(), "a:7,b:7, database d");
    assert_eq!(one_port.patience, Duration::from_secs(9));
}

#[test]
fn what_is_written_in_percent_is_read() {
    let place = good("postgres://m%40e:S%2F%3f%25%c3%a9+@h/d%20b");
    assert_eq!((&place.user[..], &place.database[..]), ("m@e", "d b"));
    let password = place.password.as_ref().map(Token::expose);
    assert_eq!(password, Some("S/?%é+"));
    let by_parameters = good("postgres://h?user=u&password=a%26b&dbname=d");
    let password = by_parameters.password.as_ref().map(Token::expose);
    assert_eq!(password, Some("a&b"));
    for bad in ["%", "%4", "%zz", "%+1", "%é"] {
        refused(&format!("postgres://u:SECRET{bad}@h/d"), "%25");
    }
    refused("postgres://u:SECRET%ff@h/d", "no text");
    refused("postgres://u:SECRET%00@h/d", "no text");
}

#[test]
fn unix_sockets_by_parameter_and_in_percent() {
    for url in [
        "postgres:///d?host=/run/postgresql&user=u",
        "postgres://u@%2Frun%2Fpostgresql/d",
        "postgres://u@/d?host=%2Frun%2Fpostgresql&port=5432&sslmode=require",
    ] {
        let place = good(url);
        let folder = At::Folder("/run/postgresql".into());
        assert_eq!(
            (&place.hosts[0].at, place.hosts[0].tls),
            (&folder, false),
            "{url}"
        );
    }
}

#[test]
fn only_loopback_and_unix_sockets_do_without_tls() {
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "%2Frun",
    ] {
        for mode in ["", "?sslmode=disable", "?sslmode=prefer", "?sslmode=allow"] {
            let url = format!("postgres://u@{host}/d{mode}");
            assert!(!good(&url).hosts[0].tls, "{url}");
        }
    }
    let others = [
        "db",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "localhost.",
        "127.1",
    ];
    for host in others {
        assert!(
            good(&format!("postgres://u@{host}/d")).hosts[0].tls,
            "{host}"
        );
        for mode in ["disable", "prefer", "allow"] {
            refused(
                &format!("postgres://u:SECRET@{host}/d?sslmode={mode}"),
                "verify-full",
            );
            let beside = format!("postgres://u:SECRET@localhost,{host}/d?sslmode={mode}");
            refused(&beside, "verify-full");
        }
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        for host in ["db", "127.0.0.1"] {
            let url = format!("postgres://u@{host}/d?sslmode={mode}");
            assert!(good(&url).hosts[0].tls, "{url}");
        }
    }
    refused("postgres://u@db/d?sslmode=SECRET", "sslmode");
}

#[test]
fn certificates_are_named_once() {
    let place = |url: &str, ca: Option<&str>| {
        Place::parse(&Token::new(url), ca.map(PathBuf::from)).map(|place| place.ca_file)
    };
    let (bare, root) = ("postgres://u@h/d", "postgres://u@h/d?sslrootcert=/a/ca.pem");
    let file = Some(PathBuf::from("/a/ca.pem"));
    assert_eq!(place(bare, None), Ok(None));
    assert_eq!(place(bare, Some("/a/ca.pem")), Ok(file.clone()));
    assert_eq!(place(root, None), Ok(file.clone()));
    assert_eq!(place(root, Some("/a/ca.pem")), Ok(file.clone()));
    assert_eq!(place("postgres://u@h/d?sslrootcert=system", None), Ok(None));
    for (url, ca) in [(root, "/b"), ("postgres://u@h/d?sslrootcert=system", "/b")] {
        let error = place(url, Some(ca)).unwrap_err().to_string();
        assert!(error.contains("postgres.ca_file"), "{error}");
    }
}

#[test]
fn what_is_not_understood_is_named_and_what_does_not_count_is_told() {
    for name in [
        "options", "sslcert", "hostaddr", "sslmod", "passfile", "service",
    ] {
        let url = format!("postgres://u:SECRET@h/d?{name}=SECRET");
        refused(&url, &format!("`{name}`"));
    }
    let place =
        good("postgres://u@h/d?keepalives=1&application_name=x&target_session_attrs=primary");
    assert_eq!(
        place.unused(),
        ["application_name", "keepalives", "target_session_attrs"]
    );
    assert!(good("postgres://u@h/d").unused().is_empty());
    refused(
        "postgres://u@h/d?target_session_attrs=standby",
        "target_session_attrs",
    );
    refused("postgres://u@h/d?gssencmode=require", "gssencmode");
    refused("postgres://u@h/d?connect_timeout=0", "connect_timeout");
    refused("postgres://u@h/d?connect_timeout=61", "connect_timeout");
    refused("postgres://u@h/d?sslmode=require&sslmode=require", "twice");
    refused("postgres://u@h/d?host=i", "`host` twice");
    refused(
        "postgres://u:SECRET@h/d?password=SECRET",
        "`password` twice",
    );
}

#[test]
fn what_is_missing_is_told_with_the_form() {
    for (url, words) in [
        ("", "is none"),
        ("host=h user=u password=SECRET", "is none"),
        ("mysql://u:SECRET@h/d", "is none"),
        ("postgres:/u:SECRET@h/d", "is none"),
        ("postgres://h/d", "names no user"),
        ("postgres://:SECRET@h/d", "names no user"),
        ("postgres://u:SECRET@h", "names no database"),
        ("postgres://u:SECRET@h/", "names no database"),
        ("postgres://u:SECRET@/d", "names no host"),
        ("postgres://u:SECRET@h,,i/d", "a host that cannot be one"),
        ("postgres://u:SECRET@h h/d", "blanks"),
        ("postgres://u:SECRET@h\n/d", "blanks"),
        ("postgres://u:SECRET@h:0/d", "port"),
        ("postgres://u:SECRET@h:65536/d", "port"),
        ("postgres://u:SECRET@[::1/d", "["),
        ("postgres://u:SECRET@h,i,j/d?port=1,2", "number of ports"),
        ("postgres://u:SECRET@h/d?sslmode", "without a value"),
    ] {
        refused(url, words);
    }
}

/// Whatever of a password comes apart where it should have been written in percent: it is refused,
/// and no piece of it passes for a name.
#[test]
fn a_piece_of_a_password_is_never_shown() {
    for password in [
        "SECRET@SECRET",
        "SECRET/SECRET",
        "1/SECRET",
        "/SECRET",
        "SECRET?SECRET",
        "?SECRET=SECRET",
        "1?SECRET=1&SECRET",
        "SECRET#SECRET/SECRET",
        "SECRET:SECRET@",
        "12,SECRET/x",
    ] {
        refused(&format!("postgres://u:{password}@h/d"), "");
    }
    refused(
        "postgres://h/d?user=u&password=a&SECRET=b",
        "a parameter that is not understood",
    );
    refused(
        "postgres://u@h/d?SECRET-SECRET=b",
        "a parameter that is not understood",
    );
}

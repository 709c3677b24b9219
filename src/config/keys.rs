//! Every scalar key, once: this table makes the sections' types, reads them, names the
//! environment variables and is the reference.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::key::Key;
use super::raw::Raw;
use super::values::{
    BaseUrl, Kind, ad_account_id, address, app_name, base_url, calls, currency, duration, flag,
    list, loopback, number, one_of, optional, path, product_keys, schema, size, states, text,
};
use crate::deliver::{CallLimit, OnLate, OnRefused};
use crate::lifecycle::LogFormat;
use crate::policy::Missing;
use crate::transform::{Hashing, UnreadableTime};

/// Where the fields of an event are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Where Chord's page says.
    Document,
    /// And behind that in further places.
    Extended,
}

/// Which Pinterest Tag runs beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    /// None, or nobody has said.
    None,
    /// Chord's own destination for it.
    Chord,
    /// Another, whose names are `[tag_names]`.
    Custom,
}

/// Which engine carries the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A folder of this machine.
    Sled,
    /// A schema of a PostgreSQL database.
    Postgres,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

const ACTION_SOURCES: &[(&str, &str)] = &[
    ("web", "web"),
    ("app_android", "app_android"),
    ("app_ios", "app_ios"),
    ("offline", "offline"),
];
const HASHINGS: &[(&str, Hashing)] = &[
    (Hashing::Raw.name(), Hashing::Raw),
    (Hashing::Sha256.name(), Hashing::Sha256),
];
const UNREADABLE: &[(&str, UnreadableTime)] = &[
    (
        UnreadableTime::DeadLetter.name(),
        UnreadableTime::DeadLetter,
    ),
    (
        UnreadableTime::AcceptedAt.name(),
        UnreadableTime::AcceptedAt,
    ),
];
const TAGS: &[(&str, TagKind)] = &[
    ("none", TagKind::None),
    ("chord", TagKind::Chord),
    ("custom", TagKind::Custom),
];
const MISSING: &[(&str, Missing)] = &[("deny", Missing::Deny), ("allow", Missing::Allow)];
const SOURCES: &[(&str, Sources)] = &[
    ("document", Sources::Document),
    ("extended", Sources::Extended),
];
const ON_REFUSED: &[(&str, OnRefused)] = &[
    ("strip", OnRefused::Strip),
    ("dead_letter", OnRefused::DeadLetter),
];
const ON_LATE: &[(&str, OnLate)] = &[
    ("deliver", OnLate::Deliver),
    ("dead_letter", OnLate::DeadLetter),
];
const ENGINES: &[(&str, Engine)] = &[("sled", Engine::Sled), ("postgres", Engine::Postgres)];
const DURABILITIES: &[(&str, &str)] = &[
    ("replicated", "replicated"),
    ("managed", "managed"),
    ("single", "single"),
];
const LEVELS: &[(&str, &str)] = &[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];
const FORMATS: &[(&str, LogFormat)] = &[
    ("auto", LogFormat::Auto),
    ("human", LogFormat::Human),
    ("journald", LogFormat::Journald),
    ("json", LogFormat::Json),
];

macro_rules! reloadable {
    (reload) => {
        true
    };
    (restart) => {
        false
    };
}

macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $name:ident: $Type:ty = $kind:ident, $default:literal, $parse:expr, $when:ident;
            )+
        }
    )+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, PartialEq, Eq)]
            #[allow(rustdoc::invalid_html_tags, reason = "no tags, but places for names")]
            pub struct $Section {
                $( $(#[doc = $doc])+ pub $name: $Type, )+
            }
        )+

        /// Every scalar key, in the order of the reference.
        pub static KEYS: &[Key] = &[$($(
            Key {
                section: stringify!($section),
                name: stringify!($name),
                kind: Kind::$kind,
                default: $default,
                reloadable: reloadable!($when),
                doc: concat!($($doc),+),
            },
        )+)+];

        pub(super) struct Sections {
            $( pub $section: $Section, )+
        }

        impl Sections {
            /// Takes every key out of `raw`, which keeps the problems; a default stands in for
            /// what does not parse. `None` only if a default does not.
            pub fn read(raw: &mut Raw) -> Option<Self> {
                $(
                    let $section = {
                        $( let $name = raw.take(
                            stringify!($section), stringify!($name), $default, $parse); )+
                        // All keys have been read before the first missing one ends this.
                        (|| Some($Section { $( $name: $name?, )+ }))()
                    };
                )+
                Some(Self { $( $section: $section?, )+ })
            }
        }
    };
}

settings! {
    /// `[pinterest]`: whose events these are, and where they go.
    pinterest: Pinterest {
        /// The Pinterest ad account; `run` needs it.
        ad_account_id: Option<String> = Text, "", optional(ad_account_id), restart;
        /// Sent as partner_name, by convention "ss-<name>" or "direct"; `run` needs it.
        app_name: Option<String> = Text, "", optional(app_name), reload;
        /// The file with the conversion access token. If set, it is the only source; otherwise
        /// the first that exists of /etc/pinrelay/token, $CREDENTIALS_DIRECTORY/pinterest-token
        /// and $PINRELAY_TOKEN.
        token_file: Option<PathBuf> = Text, "", optional(path), reload;
        /// Where the API is; https, except on loopback.
        base_url: BaseUrl = Text, "https://api.pinterest.com/v5", base_url, restart;
        /// Send with ?test=true: checked, not recorded; batches of at most 20, 10 requests/s, and
        /// a queue of its own, the folder of queue.path with -test behind its name.
        test: bool = Flag, "false", flag, restart;
        /// The action_source of events that do not tell: web, app_android, app_ios or offline.
        default_action_source: &'static str = Text, "web", one_of(ACTION_SOURCES), reload;
        /// The currency of events that do not tell: three letters.
        default_currency: String = Text, "USD", currency, reload;
        /// The Pinterest Tag that runs beside us: "none", "chord", or "custom", whose names for events
        /// are [tag_names]. `check` and `quality` name what Pinterest would count twice.
        tag: TagKind = Text, "none", one_of(TAGS), reload;
    }
    /// `[ingest]`: where events come in.
    ingest: Ingest {
        /// The Unix socket for lines of JSON.
        socket: PathBuf = Text, "/run/pinrelay/ingest.sock", path, restart;
        /// The group of the socket files: of those who may send events. If there is no such group,
        /// or it is empty, the sockets keep the daemon's own.
        group: String = Text, "pinrelay-ingest", text, restart;
        /// Longer events are rejected. From 1KiB to 4MiB.
        max_event_bytes: u64 = Size, "262144", size(KIB..=4 * MIB), restart;
        /// The Unix socket for HTTP; empty: none. Where `socket` stands elsewhere, so does this one:
        /// http.sock beside it.
        http_socket: Option<PathBuf> = Text, "/run/pinrelay/http.sock", optional(path), restart;
        /// An address and port for HTTP as well, like "127.0.0.1:8080"; empty: none. One that is
        /// not loopback takes write keys, a certificate and its key, or http_behind_proxy.
        http_listen: Option<SocketAddr> = Text, "", optional(address), restart;
        /// The file with the certificate for http_listen, and those that lead to its authority
        /// (PEM); read again when it changes.
        http_tls_cert: Option<PathBuf> = Text, "", optional(path), restart;
        /// The file with the certificate's private key (PEM); read again when it changes.
        http_tls_key: Option<PathBuf> = Text, "", optional(path), restart;
        /// A proxy stands before http_listen, encrypts, and lets nobody through who may not send.
        http_behind_proxy: bool = Flag, "false", flag, restart;
        /// X-Forwarded-For, X-Real-Ip and User-Agent are the customer's, for events that do not
        /// tell: only where the sender, or a proxy before it, sets them.
        http_trust_forwarded: bool = Flag, "false", flag, reload;
        /// Larger requests are refused, also when they are larger only unpacked. From 64KiB to
        /// 64MiB.
        http_max_body: u64 = Size, "4MiB", size(64 * KIB..=64 * MIB), reload;
    }
    /// `[queue]`: where events wait.
    queue: Queue {
        /// "sled" keeps it in a folder of this machine, "postgres" in a database, as [postgres] says;
        /// then path, min_free, machine_id_file and generation_events do not count.
        engine: Engine = Text, "sled", one_of(ENGINES), restart;
        /// The folder of the queue.
        path: PathBuf = Text, "/var/lib/pinrelay/queue", path, restart;
        /// How long an accepted messageId is remembered. From 1s to 30d.
        dedup_window: Duration = Duration, "7d", duration("1s", "30d"), restart;
        /// The most the waiting events may take on disk; at it, looked at each second, reading stops. From 1MiB.
        max_bytes: u64 = Size, "8GiB", size(MIB..=1024 * TIB), restart;
        /// Kept free on the file system, though never more than a quarter of it; below it
        /// events are answered `unavailable`. Up to 1TiB.
        min_free: u64 = Size, "256MiB", size(0..=TIB), restart;
        /// The file with this machine's id: a queue made on another machine is refused until
        /// `pinrelay adopt`. Missing or empty, as in containers: not compared.
        machine_id_file: PathBuf = Text, "/etc/machine-id", super::values::path, restart;
        /// Events in one store of the queue. Fewer give disk back sooner, more make fewer stores.
        /// From 100 to 1000000.
        generation_events: u32 = Number, "200000", number(100..=1_000_000), restart;
    }
    /// `[postgres]`: where the queue is with engine = "postgres".
    postgres: Postgres {
        /// The file with the database's URL, postgres://USER:PASSWORD@HOST/DATABASE. If set, it is
        /// the only source; otherwise the first that exists of
        /// $CREDENTIALS_DIRECTORY/pinrelay-db-url and $PINRELAY_DB_URL.
        url_file: Option<PathBuf> = Text, "", optional(path), restart;
        /// The file with the certificates of the authorities that vouch for the server (PEM); empty:
        /// the system's.
        ca_file: Option<PathBuf> = Text, "", optional(path), restart;
        /// The schema of the database, one for each ad account. In test mode one of its own, with
        /// _test behind its name.
        schema: String = Text, "pinrelay", schema, restart;
        /// What has an event before it is answered: "replicated", a synchronous standby too;
        /// "managed", whatever the provider answers for; "single", the one server.
        durability: &'static str = Text, "replicated", one_of(DURABILITIES), restart;
        /// How long the right to deliver outlives a daemon that is gone. From 2s to 5m.
        lease: Duration = Duration, "10s", duration("2s", "5m"), restart;
    }
    /// `[delivery]`: how events go out.
    delivery: Delivery {
        /// Events in one request. From 1 to 1000.
        max_batch_events: u32 = Number, "1000", number(1..=1000), reload;
        /// Bytes of one request's body. From 16KiB to 64MiB.
        max_batch_bytes: u64 = Size, "2MiB", size(16 * KIB..=64 * MIB), reload;
        /// How long a batch that is not full waits for more. Up to 10s.
        linger: Duration = Duration, "200ms", duration("0s", "10s"), reload;
        /// Requests under way at once. From 1 to 256.
        max_in_flight: u32 = Number, "20", number(1..=256), reload;
        /// After it a request's outcome is unknown, and it is sent again. From 100ms to 10m.
        request_timeout: Duration = Duration, "30s", duration("100ms", "10m"), restart;
        /// Older events become dead letters; Pinterest refuses them after 7d. From 6m to 7d.
        max_age: Duration = Duration, "7d", duration("6m", "7d"), reload;
        /// Requests a minute: "auto", which is 5000 until Pinterest's headers say otherwise and then
        /// what they say, or the most there may be, also if they say more. 0: no limit, for benches.
        max_calls_per_minute: CallLimit = Calls, "auto", calls, reload;
        /// The first interval between attempts. From 10ms to 1h.
        backoff_initial: Duration = Duration, "1s", duration("10ms", "1h"), reload;
        /// The longest interval between attempts. From 10ms to 1d.
        backoff_max: Duration = Duration, "5m", duration("10ms", "1d"), reload;
        /// Older events are late: Pinterest treats them as offline, and does not deduplicate
        /// them against the Tag. From 1s to 7d.
        late_after: Duration = Duration, "1h", duration("1s", "7d"), reload;
        /// What becomes of a late event: "deliver", or "dead_letter" (reason `late`).
        on_late: OnLate = Text, "deliver", one_of(ON_LATE), reload;
        /// How long a stop waits for what is queued to be delivered. Up to 1h; systemd's
        /// TimeoutStopSec has to be longer.
        drain_deadline: Duration = Duration, "20s", duration("0s", "1h"), reload;
    }
    /// `[dead_letters]`: what could not be delivered.
    dead_letters: DeadLetters {
        /// How long they are kept. From 1m to 3650d.
        retention: Duration = Duration, "30d", duration("1m", "3650d"), restart;
        /// The most they may take on disk; beyond it the oldest period is purged, counted and
        /// told. From 1MiB.
        max_bytes: u64 = Size, "1GiB", size(MIB..=1024 * TIB), restart;
    }
    /// `[user_data]`: what is said of people.
    user_data: UserData {
        /// "raw" sends values as they come, "sha256" sends hashes of their normalised form.
        hashing: Hashing = Text, "raw", one_of(HASHINGS), reload;
        /// "document" reads what Chord's page names; "extended" further sources behind those, and
        /// what an event tells of app and device.
        sources: Sources = Text, "document", one_of(SOURCES), reload;
        /// Names of countries, and of states of the US, Canada and Australia, go out as the codes that
        /// Pinterest matches by.
        codes: bool = Flag, "false", flag, reload;
        /// The client_user_agent of events without one; empty omits it.
        default_user_agent: String = Text, "Mozilla/5.0", text, reload;
    }
    /// `[consent]`: whose events may go.
    consent: Consent {
        /// Categories of consent without which an event is kept back: each has to be true in its
        /// context.consent.categoryPreferences.
        require: Vec<String> = List, "", list, reload;
        /// What an event without these choices means: "deny" keeps it back, "allow" lets it go.
        missing: Missing = Text, "deny", one_of(MISSING), reload;
        /// Codes of states of the US. Events from there, of customers who refuse sale_of_data, go
        /// with limited data processing instead of being kept back.
        ldp_states: Vec<String> = List, "", states, reload;
    }
    /// `[catalog]`: the products.
    catalog: Catalog {
        /// The keys of a product that hold the id that it has in the catalogue at Pinterest: the first
        /// that is there counts.
        content_id: Vec<String> = List, "product_id, sku", product_keys, reload;
    }
    /// `[event_time]`: when it happened.
    event_time: EventTime {
        /// What becomes of an event whose time is there and cannot be read: "dead_letter" (reason
        /// `unreadable_time`), or "accepted_at", which books it on the moment of its acceptance.
        unreadable: UnreadableTime = Text, "dead_letter", one_of(UNREADABLE), reload;
    }
    /// `[custom_properties]`: keys outside Pinterest's schema.
    custom_properties: CustomProperties {
        /// When Pinterest refuses one: "strip" sends the event without it, "dead_letter" keeps
        /// the event back.
        on_refused: OnRefused = Text, "strip", one_of(ON_REFUSED), reload;
    }
    /// `[admin]`: the operator's door.
    admin: Admin {
        /// The Unix socket that the commands speak to.
        socket: PathBuf = Text, "/run/pinrelay/admin.sock", path, restart;
        /// A group that may use it as well (0660), of which the daemon's user has to be a member;
        /// empty: only the daemon's user and root.
        group: String = Text, "", text, restart;
    }
    /// `[metrics]`: for Prometheus.
    metrics: Metrics {
        /// A loopback address and port for /metrics, /healthz and /readyz, like
        /// "127.0.0.1:9464"; empty: on the admin socket alone.
        listen: Option<SocketAddr> = Text, "", optional(loopback), restart;
    }
    /// `[notify]`: who is told when something changes for the worse, or for the better.
    notify: Notify {
        /// The file with the URL that is told, as a POST of JSON; empty: nobody is told.
        webhook_url_file: Option<PathBuf> = Text, "", optional(path), reload;
        /// The least time between two notifications of one kind. From 1s to 1d.
        min_interval: Duration = Duration, "15m", duration("1s", "1d"), reload;
        /// A backlog whose oldest event waits longer than this is told. From 1s to 7d.
        backlog_age: Duration = Duration, "30m", duration("1s", "7d"), reload;
    }
    /// `[log]`: what is told, and how.
    log: Log {
        /// error, warn, info, debug or trace.
        level: &'static str = Text, "info", one_of(LEVELS), restart;
        /// auto (human on a terminal, journald under systemd, else json), human, journald or
        /// json.
        format: LogFormat = Text, "auto", one_of(FORMATS), restart;
    }
}

//! What `check --online` does: one synthetic event in test mode, and its answer in words.

use serde_json::json;

use super::finding::Finding::{self, Advice, Fine, Wrong};
use crate::config::Config;
use crate::deliver::{Online, try_online};
use crate::secret::SharedToken;
use crate::transform::Fixed;

/// Sends the event; what it says of the config.
pub(super) fn findings(config: &Config, now_seconds: i64) -> Vec<Finding> {
    match send(config, now_seconds) {
        Ok(online) => explain(online, config.pinterest.ad_account_id.as_deref()),
        Err(why) => vec![Wrong(why)],
    }
}

fn send(config: &Config, now_seconds: i64) -> Result<Online, String> {
    let required = config.require_run().map_err(|e| e.to_string())?;
    let token = config.token.read().map_err(|e| e.to_string())?;
    let transform = config.transform().map_err(|e| e.to_string())?;
    let line = json!({
        "messageId": format!("pinrelay-check-{}", uuid::Uuid::new_v4()),
        "type": "page",
        "timestamp": now_seconds,
        "userId": "pinrelay-check",
        "properties": { "title": "pinrelay check", "email": "pinrelay-check@example.com" },
        "context": { "page": { "url": "https://example.com/pinrelay-check" } },
    });
    let line = line.to_string();
    let fixed = Fixed {
        accepted_at: now_seconds,
        event_time: now_seconds,
    };
    let event = transform
        .payload(line.as_bytes(), fixed, None, &|_| false)
        .map_err(|unsendable| unsendable.why.to_string())?;
    let options = config.delivery_options(required.ad_account_id);
    let token = SharedToken::new(token.token);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime cannot be started: {e}"))?;
    runtime
        .block_on(try_online(&options, token, &event.json))
        .map_err(|e| e.to_string())
}

fn explain(online: Online, account: Option<&str>) -> Vec<Finding> {
    let account = account.unwrap_or_default();
    match online {
        Online::Processed(warnings) => {
            let well = format!(
                "online: Pinterest took a test event for ad account {account}; token, account \
                 and network are right, and nothing was recorded"
            );
            let warned = |text| Advice(format!("online: Pinterest warns: {text}"));
            let warnings = warnings.into_iter().map(warned);
            std::iter::once(Fine(well)).chain(warnings).collect()
        }
        Online::Refused(words) => vec![Advice(format!(
            "online: token, account and network are right, but Pinterest refused the test event: \
             {words}"
        ))],
        Online::Token(words) => vec![Wrong(format!(
            "online: Pinterest does not know this token (401: {words}). Make a new conversion \
             access token (Pinterest: Ads, Conversions) and put it into the token file"
        ))],
        Online::Account(words) => vec![Wrong(format!(
            "online: this token is not for ad account {account} ({words}). Compare \
             pinterest.ad_account_id with Ads Manager's URL, and make the token in that account"
        ))],
        Online::Limited => vec![Advice(
            "online: Pinterest limits the rate just now (429): token and network are right; try \
             again in a minute to be sure of the account"
                .to_owned(),
        )],
        Online::Unavailable(what) => vec![Wrong(format!(
            "online: no verdict from Pinterest ({what}). Events would wait in the queue; try \
             again later"
        ))],
        Online::Unexpected(status, words) => vec![Wrong(format!(
            "online: an answer that Pinterest's API does not give (status {status}: {words}). Check \
             pinterest.base_url, and what stands between here and Pinterest, such as a proxy"
        ))],
        Online::NoConnection(why) => vec![Wrong(no_connection(&why))],
    }
}

/// Which of name look-up, TLS and network it was.
fn no_connection(why: &str) -> String {
    let lower = why.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // As rustls words it.
    let tls = [
        "certificate",
        "tls",
        "handshake",
        "corrupt message",
        "fatal alert",
        "peer is incompatible",
    ];
    let next = if any(&tls) {
        "TLS failed: is the clock right, are the CA certificates there (package \
         ca-certificates), does a proxy open TLS?"
    } else if any(&["lookup", "dns", "resolve", "name or service"]) {
        "the name was not found: check DNS (/etc/resolv.conf) and pinterest.base_url"
    } else {
        "the network let nothing through: check firewall, routes and HTTPS_PROXY for port 443 \
         outwards"
    };
    format!("online: {why}; {next}")
}

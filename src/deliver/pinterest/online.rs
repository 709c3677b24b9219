//! One synthetic event in test mode: what it says of token, account and network.

use bytes::Bytes;

use super::classify::classify;
use super::client::{ClientError, Http};
use super::profile::FRAMING;
use crate::clock::Clock;
use crate::deliver::destination::{NoReply, Transport};
use crate::deliver::judgement::{Class, Refusal, Verdict};
use crate::deliver::options::Options;
use crate::secret::SharedToken;

/// What became of a test event. The texts are Pinterest's, without ids and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Online {
    /// Processed: token, account and network are right. The warnings Pinterest gave.
    Processed(Vec<String>),
    /// Pinterest judged it and would not have it: token, account and network are right all the
    /// same.
    Refused(String),
    /// 401: the token is none of Pinterest's, or no longer.
    Token(String),
    /// 403 or 404: the token is one, but not for this ad account.
    Account(String),
    /// 429.
    Limited,
    /// 5xx, a time-out or an unreadable answer.
    Unavailable(String),
    /// An answer that the API does not document, such as a proxy's.
    Unexpected(u16, String),
    /// No connection: name look-up, network or TLS.
    NoConnection(String),
}

/// Sends `event` (an object of the wire) once, as `?test=true`: checked and answered, never
/// recorded.
///
/// # Errors
/// [`ClientError`] if the options allow no client.
pub async fn try_online(
    options: &Options,
    token: SharedToken,
    event: &[u8],
) -> Result<Online, ClientError> {
    let options = Options {
        test: true,
        ..options.clone()
    };
    let http = Http::new(&options, token, Clock::system())?;
    let body = [FRAMING.head, event, FRAMING.tail].concat();
    let reply = match http.send(Bytes::from(body), false).await {
        Ok(reply) => reply,
        Err(NoReply::NotSent(why)) => return Ok(Online::NoConnection(why)),
        Err(NoReply::Unknown(why)) => return Ok(Online::Unavailable(why)),
    };
    let shown = |refusal: Refusal| refusal.words(event);
    let judgement = classify(reply.status, &reply.signals, &reply.body, 1);
    Ok(match judgement.class {
        Class::Judged(verdicts) => match verdicts.into_iter().next() {
            Some(Verdict::Processed) => Online::Processed(
                judgement
                    .warnings
                    .into_iter()
                    .map(|(kind, _)| kind)
                    .collect(),
            ),
            Some(Verdict::Failed(refusal)) => Online::Refused(shown(refusal)),
            _ => Online::Unavailable("an answer without a verdict".to_owned()),
        },
        Class::Refused { refusal, .. } => Online::Refused(shown(refusal)),
        Class::Auth(refusal) if reply.status == 401 => Online::Token(shown(refusal)),
        Class::Auth(refusal) => Online::Account(shown(refusal)),
        Class::Limited { .. } => Online::Limited,
        Class::Unexpected(refusal) => Online::Unexpected(reply.status, shown(refusal)),
        Class::Unknown(what) => Online::Unavailable(what),
    })
}

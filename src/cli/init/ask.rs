//! The answers, from flags or from the user at the terminal: three that nobody can guess, and three
//! that have a default.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, anyhow};

use super::args::Args;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::text::say;
use crate::config::{self, ConfigError, entries, parse_ad_account_id, parse_app_name};
use crate::secret::Token;

/// What the config needs that nobody can guess.
pub(super) struct Answers {
    pub(super) ad_account_id: String,
    pub(super) app_name: String,
    pub(super) token: Token,
    /// Lines of the config in place of those that are commented out there.
    pub(super) lines: Vec<Line>,
}

/// A key of the config with a value other than its default.
pub(super) struct Line {
    pub(super) key: &'static str,
    /// As TOML.
    pub(super) value: String,
}

/// What most shops answer alike, asked in a sentence and a question.
pub(super) struct Choice {
    section: &'static str,
    pub(super) key: &'static str,
    flag: &'static str,
    question: &'static str,
    is_list: bool,
    /// Words for the default, beside an empty answer.
    none: &'static [&'static str],
}

/// Answers to another question, which would be names here.
const WORDS: [&str; 6] = ["no", "none", "off", "false", "yes", "true"];

pub(super) const CHOICES: [Choice; 3] = [
    Choice {
        section: "pinterest",
        key: "tag",
        flag: "--tag",
        question: "\nPinterest counts an event of the shop and of the Tag on its pages once only if both give \
               it the same name.\nDoes the Tag run: none, chord (Chord's own), or custom? [none] ",
        is_list: false,
        none: &["none", "no"],
    },
    Choice {
        section: "consent",
        key: "require",
        flag: "--consent",
        question: "\nAn event can be kept back unless its customer has granted certain categories of consent, \
               like marketing.\nWhich are needed, with commas between them? [none] ",
        is_list: true,
        none: &["none", "no"],
    },
    Choice {
        section: "catalog",
        key: "content_id",
        flag: "--content-id",
        question: "\nCampaigns find a product by the id that it has in the catalogue at Pinterest.\nWhich key \
               of a product holds it, like variant_id; of several the first that is there? \
               [product_id, sku] ",
        is_list: true,
        none: &[],
    },
];

impl Choice {
    /// The config's line for an answer; `None`: the default.
    ///
    /// # Errors
    /// What the config says of it.
    fn line(&self, answer: &str) -> Result<Option<Line>, String> {
        let parts: Vec<_> = entries(answer).collect();
        let value = match (self.is_list, parts.as_slice()) {
            (_, []) => return Ok(None),
            (_, [word]) if self.none.contains(word) => return Ok(None),
            (true, parts) if parts.iter().any(|part| WORDS.contains(part)) => {
                return Err(format!(
                    "a name is needed: {} are answers",
                    WORDS.join(", ")
                ));
            }
            (true, parts) => toml::Value::from(parts.to_vec()),
            (false, _) => toml::Value::from(answer.trim()),
        };
        let value = value.to_string();
        let text = format!("[{}]\n{} = {value}\n", self.section, self.key);
        let read = config::read(Some((Path::new(self.flag), &text)), std::iter::empty());
        // What only the whole of it can tell.
        match read.and_then(|config| config.transform()) {
            Ok(_) => Ok(Some(Line {
                key: self.key,
                value,
            })),
            Err(ConfigError::Invalid(problems)) => {
                let messages = problems.into_iter().map(|problem| problem.message);
                Err(messages.collect::<Vec<_>>().join("; "))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Everything that is not given is asked for, until it can be right.
///
/// # Errors
/// With exit 64 what is missing or wrong and cannot be asked for.
pub(super) fn answers(args: &Args) -> Result<Answers, Failure> {
    let asks = !args.non_interactive && io::stdin().is_terminal();
    let ask = |question: &str,
               given: &Option<String>,
               flag: &str,
               parse: fn(&str) -> Result<String, String>| {
        match given {
            Some(given) => parse(given)
                .map_err(|expected| anyhow!("{flag} {given:?} has to be {expected}"))
                .or_exit(Exit::Usage),
            None if asks => {
                let has_to_be = |expected| format!("This has to be {expected}");
                prompt(question, |text| parse(text).map_err(has_to_be)).or_exit(Exit::Io)
            }
            None => Err(missing(flag)),
        }
    };
    let ad_account_id = ask(
        "Ad account ID (Ads Manager's URL, or Ads > Account settings): ",
        &args.ad_account_id,
        "--ad-account-id",
        parse_ad_account_id,
    )?;
    let app_name = ask(
        "App name, sent as partner_name (ss-<your shop>, or direct): ",
        &args.app_name,
        "--app-name",
        |text| match text {
            "" => Err("a name".to_owned()),
            text => parse_app_name(text),
        },
    )?;
    let token = match &args.token_file {
        Some(file) => token_from(file)?,
        None if asks => prompt_token().or_exit(Exit::Io)?,
        None => return Err(missing("--token-file")),
    };
    let given = [&args.tag, &args.consent, &args.content_id];
    let mut lines = Vec::new();
    for (choice, given) in CHOICES.iter().zip(given) {
        lines.extend(match given {
            Some(given) => choice
                .line(given)
                .map_err(|why| anyhow!("{} {given:?}: {why}", choice.flag))
                .or_exit(Exit::Usage)?,
            None if asks => prompt(choice.question, |text| choice.line(text)).or_exit(Exit::Io)?,
            None => None,
        });
    }
    Ok(Answers {
        ad_account_id,
        app_name,
        token,
        lines,
    })
}

fn missing(flag: &str) -> Failure {
    Failure {
        exit: Exit::Usage,
        error: anyhow!("{flag} is missing, and nobody is there to be asked: give it"),
    }
}

fn prompt<T>(question: &str, parse: impl Fn(&str) -> Result<T, String>) -> anyhow::Result<T> {
    loop {
        say(question);
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(anyhow!("the input ended: nothing was written"));
        }
        match parse(line.trim()) {
            Ok(answer) => return Ok(answer),
            Err(wrong) => say(&format!("{wrong}.\n")),
        }
    }
}

fn prompt_token() -> anyhow::Result<Token> {
    loop {
        let question = "Conversion access token (Ads > Conversions; not shown): ";
        let typed = rpassword::prompt_password(question).context("reading the token")?;
        match Token::parse(&typed) {
            Ok(token) => return Ok(token),
            Err(what) => say(&format!("This is no token: it {what}.\n")),
        }
    }
}

fn token_from(file: &Path) -> Result<Token, Failure> {
    let text = match file == Path::new("-") {
        true => {
            let mut text = String::new();
            let read = io::stdin().lock().read_to_string(&mut text);
            read.map(|_| text)
        }
        false => fs::read_to_string(file),
    };
    let name = file.display();
    let text = text
        .with_context(|| format!("the token cannot be read from {name}"))
        .or_exit(Exit::Io)?;
    Token::parse(&text)
        .map_err(|what| anyhow!("{name} does not hold an access token: it {what}"))
        .or_exit(Exit::Data)
}

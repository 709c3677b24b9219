//! The three answers, from flags or from the user at the terminal.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, anyhow};

use super::args::Args;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::text::say;
use crate::config::{parse_ad_account_id, parse_app_name};
use crate::secret::Token;

/// What the config needs that nobody can guess.
pub(super) struct Answers {
    pub(super) ad_account_id: String,
    pub(super) app_name: String,
    pub(super) token: Token,
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
            None if asks => prompt(question, parse).or_exit(Exit::Io),
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
    Ok(Answers {
        ad_account_id,
        app_name,
        token,
    })
}

fn missing(flag: &str) -> Failure {
    Failure {
        exit: Exit::Usage,
        error: anyhow!("{flag} is missing, and nobody is there to be asked: give it"),
    }
}

fn prompt(question: &str, parse: fn(&str) -> Result<String, String>) -> anyhow::Result<String> {
    loop {
        say(question);
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Err(anyhow!("the input ended: nothing was written"));
        }
        match parse(line.trim()) {
            Ok(answer) => return Ok(answer),
            Err(expected) => say(&format!("This has to be {expected}.\n")),
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

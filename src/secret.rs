//! The access token, which never shows itself.

use std::fmt;

/// Pinterest's conversion access token. Its `Debug` and `Display` are a placeholder; only
/// [`Token::expose`] gives the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token as it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the `Authorization` header alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_does_not_print() {
        let token = Token::new("pina_ABC");
        assert!(!format!("{token} {token:?} {token:#?}").contains("ABC"));
        assert_eq!(token.expose(), "pina_ABC");
    }
}

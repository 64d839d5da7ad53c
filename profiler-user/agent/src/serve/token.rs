//! A secret that whoever asks must know.
//!
//! In: the text of a file, and what a request says. Out: whether that is it, in a time that does not tell how much of it was
//! right. Must not know: HTTP.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// The secret.
pub struct Token(Vec<u8>);

/// Shorter ones can be guessed.
const LEAST: usize = 8;
/// Longer ones do not fit into a request.
const MOST: usize = 4096;

impl Token {
    /// Takes it from the text of a file: one line, blanks around it do not count.
    ///
    /// # Errors
    /// It is none; says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < LEAST {
            return Err(format!(
                "it needs at least {LEAST} characters; make one with: openssl rand -hex 32"
            ));
        }
        if text.len() > MOST {
            return Err(format!("it may have at most {MOST} characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "it may hold only letters, digits and signs of ASCII, on one line".to_owned(),
            );
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// What is to be told to who wants to know it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether an `Authorization` header has it.
    pub(super) fn is_in(&self, authorization: Option<&[u8]>) -> bool {
        let Some((scheme, given)) = authorization.and_then(|header| header.split_at_checked(7))
        else {
            return false;
        };
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
        is_bearer & bool::from(self.0.as_slice().ct_eq(given.trim_ascii()))
    }
}

/// It is not shown, wherever it turns up.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_it() {
        let token = Token::parse("  abcdefgh\n").unwrap();
        for (header, is_it) in [
            (Some("Bearer abcdefgh"), true),
            (Some("bearer abcdefgh "), true),
            (Some("Bearer abcdefg"), false),
            (Some("Bearer abcdefgh1"), false),
            (Some("Bearer "), false),
            (Some("Bearer"), false),
            (Some("Basic abcdefgh"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(token.is_in(header.map(str::as_bytes)), is_it, "{header:?}");
        }
        assert!(!token.is_in(Some(b"Bearer \xff\xfe")));
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for bad in [
            "",
            "short",
            "two words here",
            "ümlaute-sind-da",
            &"x".repeat(5000),
        ] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Finds code that reads an environment file at compile time, which would put its values into the
//! binary.

/// Macros that put a file's content into the code.
const INCLUDE: [&str; 3] = ["include_str", "include_bytes", "include"];
/// Macros of the crates that read `.env` files.
const DOTENV: [&str; 4] = ["dotenv", "dotenv_or_default", "load_dotenv", "try_load_dotenv"];

/// Returns the line and the name of the first macro that reads an environment file.
pub(crate) fn environment_file(code: &str) -> Option<(usize, String)> {
    let tokens = tokens(code);
    tokens.iter().enumerate().find_map(|(at, (line, token))| {
        let Token::Word(word) = token else { return None };
        let rest = &tokens[at + 1..];
        reads_one(word, rest).then(|| match is_macro(rest) {
            true => (*line, format!("{word}!")),
            false => (*line, word.clone()),
        })
    })
}

fn reads_one(word: &str, rest: &[(usize, Token)]) -> bool {
    match is_macro(rest) {
        true => {
            DOTENV.contains(&word)
                || (INCLUDE.contains(&word) && arguments(&rest[1..]).any(is_environment_file))
        }
        // These crates have only such macros, and an import can rename them.
        false => word == "dotenv_codegen" || word == "dotenvy_macro",
    }
}

fn is_macro(rest: &[(usize, Token)]) -> bool {
    matches!(rest.first(), Some((_, Token::Sign('!'))))
}

/// Returns true if the last part of the path is the name of an environment file.
fn is_environment_file(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(".env"))
}

/// Returns the string literals between the first bracket and the one that closes it.
fn arguments(tokens: &[(usize, Token)]) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let inside = tokens.iter().take_while(move |(_, token)| {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 0
    });
    inside.filter_map(|(_, token)| match token {
        Token::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// The content of a string literal, with its escapes.
    Text(String),
    Sign(char),
}

/// Returns the tokens, each with the line that it begins in. Skips comments and character literals.
fn tokens(code: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut rest = code;
    let (mut at, mut counted) = (1, 0);
    while let Some(first) = rest.chars().next() {
        let here = code.len() - rest.len();
        at += code[counted..here].matches('\n').count();
        counted = here;
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else if let Some((text, after)) = text(rest) {
            tokens.push((at, Token::Text(text.to_owned())));
            rest = after;
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push((at, Token::Word(rest[..end].to_owned())));
            rest = &rest[end..];
        } else if let Some(after) = after_character(rest) {
            rest = after;
        } else {
            if !first.is_whitespace() {
                tokens.push((at, Token::Sign(first)));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// Skips a block comment; these nest.
fn after_comment(code: &str) -> &str {
    let (mut depth, mut rest) = (0_usize, code);
    while !rest.is_empty() {
        let step = match (rest.starts_with("/*"), rest.starts_with("*/")) {
            (true, _) => {
                depth += 1;
                2
            }
            (_, true) => {
                depth -= 1;
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        rest = &rest[step..];
        if depth == 0 {
            break;
        }
    }
    rest
}

/// Returns the content of the string literal (plain, raw, byte or C) that `code` starts with, and
/// the rest of the code.
fn text(code: &str) -> Option<(&str, &str)> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        code.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let rest = &code[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if hashes > 0 && !prefix.ends_with('r') {
        return None;
    }
    let content = &rest[hashes + 1..];
    let end = match prefix.ends_with('r') {
        true => content.find(&format!("\"{}", "#".repeat(hashes)))?,
        false => end_of_plain(content)?,
    };
    Some((&content[..end], &content[end + 1 + hashes..]))
}

fn end_of_plain(content: &str) -> Option<usize> {
    let mut is_escaped = false;
    content.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends.then_some(at)
    })
}

/// Skips a character literal such as `'"'` or `'\''`, which does not start a string. A lifetime is
/// not one.
fn after_character(code: &str) -> Option<&str> {
    let content = code.strip_prefix('\'')?;
    match content.strip_prefix('\\') {
        Some(escaped) => {
            let first = escaped.chars().next()?.len_utf8();
            let end = escaped[first..].find('\'')? + first;
            Some(&escaped[end + 1..])
        }
        None => content[content.chars().next()?.len_utf8()..].strip_prefix('\''),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_reads_an_environment_file() {
        for (code, expected) in [
            ("let a = include_str!(\".env\");", (1, "include_str!")),
            ("\n\nconst A: &str = include_str ! (\n\"../.env.production\");", (3, "include_str!")),
            ("static A: &[u8] = include_bytes!(r#\"config/.env\"#);", (1, "include_bytes!")),
            (
                "include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/src/.env\"))",
                (1, "include_str!"),
            ),
            ("std::include_str!(\".env\")", (1, "include_str!")),
            ("/* a /* b */ c */ dotenv!(\"KEY\")", (1, "dotenv!")),
            ("use dotenv_codegen::dotenv;", (1, "dotenv_codegen")),
            ("fn f<'a>(x: &'a str) { load_dotenv!(); }", (1, "load_dotenv!")),
            ("let q = '\"'; let e = '\\''; let s = \"\\\"\"; dotenv!(\"A\")", (1, "dotenv!")),
        ] {
            let found = environment_file(code);
            assert_eq!(
                found.as_ref().map(|(line, name)| (*line, name.as_str())),
                Some(expected),
                "{code}"
            );
        }
    }

    #[test]
    fn code_that_does_not() {
        for code in [
            "",
            "// include_str!(\".env\")\nfn a() {}",
            "/* dotenv!(\"A\") */",
            "let a = \"include_str!(\\\".env\\\")\";",
            "let a = r##\"dotenv!(\"A\") \"# \"##;",
            "f(include_str!(\"page.html\"), \".env\")",
            "dotenv::dotenv().ok();",
            "std::env::var(\"A\")",
            "env!(\"CARGO_PKG_NAME\")",
            "include_str!(\"environment.env\")",
            "'",
            "\"",
            "/*",
            "r#\"",
            "'\\",
        ] {
            assert_eq!(environment_file(code), None, "{code}");
        }
    }
}

//! Addresses of resources and modules, in the syntax of Terraform's `-target`.
//!
//! Addresses are compared part by part: a key can be written in several ways, such as `"é"` and
//! `"\u00e9"`.

use std::str::{Chars, FromStr};

/// Names that Terraform takes for something else, unless `resource.` precedes them.
const RESERVED: [&str; 10] =
    ["arg", "count", "each", "lazy", "local", "path", "self", "template", "terraform", "var"];

/// `module.data["a"].aws_s3_bucket.events[0]`, `module.data`, `data.aws_ami.linux`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(String),
    Key(String),
    Index(u64),
}

impl Address {
    /// Whether `other` is this resource, one of its instances, or in this module.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl FromStr for Address {
    type Err = String;

    /// The message says what is wrong, without the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let steps = Reader(text.chars()).steps()?;
        let mut rest = steps.as_slice();
        let mut kept = Vec::new();
        while let [first, after @ ..] = rest
            && first.is("module")
        {
            let [name @ Step::Name(_), after @ ..] = after else {
                return Err("the name of a module must follow `module.`".into());
            };
            kept.extend([first.clone(), name.clone()]);
            rest = after;
            if let [key @ (Step::Key(_) | Step::Index(_)), after @ ..] = rest {
                kept.push(key.clone());
                rest = after;
            }
        }
        if kept.is_empty() || !rest.is_empty() {
            kept.extend(resource(rest)?);
        }
        Ok(Self(kept))
    }
}

impl Step {
    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Name(found) if found == name)
    }
}

/// Checks what follows the modules. `resource.a.b` is `a.b`.
fn resource(steps: &[Step]) -> Result<Vec<Step>, String> {
    let mut kept = Vec::new();
    let rest = match steps {
        [first, rest @ ..] if first.is("data") || first.is("ephemeral") => {
            kept.push(first.clone());
            rest
        }
        [first, rest @ ..] if first.is("resource") => rest,
        [Step::Name(name), ..] if RESERVED.contains(&name.as_str()) => {
            return Err(format!("write `resource.{name}` if `{name}` is a type of resources"));
        }
        rest => rest,
    };
    match rest {
        [kind @ Step::Name(_), name @ Step::Name(_)] => kept.extend([kind.clone(), name.clone()]),
        [kind @ Step::Name(_), name @ Step::Name(_), key @ (Step::Key(_) | Step::Index(_))] => {
            kept.extend([kind.clone(), name.clone(), key.clone()]);
        }
        [Step::Name(_), Step::Name(_), ..] => {
            return Err("only a key in brackets can follow the name of a resource".into());
        }
        _ => return Err("a resource has a type and a name, such as `aws_s3_bucket.data`".into()),
    }
    Ok(kept)
}

/// What is left of the text.
struct Reader<'a>(Chars<'a>);

impl Reader<'_> {
    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = vec![self.name()?];
        loop {
            self.skip_blank();
            match self.0.next() {
                None => return Ok(steps),
                Some('.') => steps.push(self.name()?),
                Some('[') => steps.push(self.key()?),
                Some(other) => {
                    let other = other.escape_debug();
                    return Err(format!("expected `.` or `[` instead of `{other}`"));
                }
            }
        }
    }

    fn skip_blank(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t'));
    }

    fn take_while(&mut self, is_part: fn(char) -> bool) -> &str {
        let rest = self.0.as_str();
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.0 = rest[length..].chars();
        &rest[..length]
    }

    fn name(&mut self) -> Result<Step, String> {
        self.skip_blank();
        let name = self.take_while(|c| !matches!(c, ' ' | '\t' | '.' | '[' | ']' | '"'));
        match hcl_edit::Ident::try_new(name) {
            Ok(name) => Ok(Step::Name(name.to_string())),
            Err(_) if name.is_empty() => Err("a name is missing".into()),
            Err(_) => Err(format!("`{}` is not a name", name.escape_debug())),
        }
    }

    /// Reads what follows `[`.
    fn key(&mut self) -> Result<Step, String> {
        self.skip_blank();
        let step = match self.0.as_str().starts_with('"') {
            true => Step::Key(self.quoted()?),
            false => {
                let index = self.take_while(|c| c.is_ascii_digit()).parse();
                Step::Index(index.map_err(|_| {
                    "brackets must contain a whole number or a key in double quotes".to_owned()
                })?)
            }
        };
        self.skip_blank();
        match self.0.next() {
            Some(']') => Ok(step),
            _ => Err("`]` must follow a key".into()),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut key = String::new();
        self.0.next();
        loop {
            match self.0.next().ok_or("a key has no closing quote")? {
                '"' => return Ok(key),
                '\\' => key.push(self.escaped()?),
                '\n' | '\r' => return Err("the end of a line in a key is written `\\n`".into()),
                sign @ ('$' | '%') => {
                    key.push(sign);
                    let rest = self.0.as_str();
                    if rest.starts_with('{') {
                        return Err(format!("write `{sign}{sign}{{` for `{sign}{{` in a key"));
                    }
                    if rest.strip_prefix(sign).is_some_and(|rest| rest.starts_with('{')) {
                        self.0.next();
                        key.extend(self.0.next());
                    }
                }
                plain => key.push(plain),
            }
        }
    }

    /// Reads what follows a backslash.
    fn escaped(&mut self) -> Result<char, String> {
        let digits = match self.0.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some(same @ ('"' | '\\')) => return Ok(same),
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err("after `\\` in a key comes n, r, t, u, U, `\"` or `\\`".into()),
        };
        let digits: String = self.0.by_ref().take(digits).collect();
        let is_whole = digits.bytes().all(|b| b.is_ascii_hexdigit()) && digits.len() >= 4;
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_whole);
        code.and_then(char::from_u32)
            .ok_or_else(|| format!("`{}` is not a Unicode character", digits.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(one: &str, other: &str) -> bool {
        let parse = |text: &str| text.parse::<Address>().unwrap_or_else(|why| panic!("{why}"));
        parse(one).covers(&parse(other))
    }

    /// As `terraform plan -target` of 1.11.4 accepts and prints them.
    #[test]
    fn one_address_in_several_spellings() {
        for (written, printed) in [
            (r#"a_b.c["a\"b"]"#, r#"a_b.c["a\"b"]"#),
            (r#"a_b.c["a.b"]"#, r#"a_b.c["a.b"]"#),
            (r#"a_b.c["$${x}"]"#, r#"a_b.c["$${x}"]"#),
            (r#"a_b.c["%%{x}"]"#, r#"a_b.c["%%{x}"]"#),
            (r#"a_b.c["$$x %% $"]"#, r#"a_b.c["$$x %% $"]"#),
            (r#"a_b.c["\u00e9\U0001F600"]"#, "a_b.c[\"é\u{1f600}\"]"),
            ("a_b.c[\"\t\u{7}\"]", r#"a_b.c["\t\u0007"]"#),
            (r#"a_b.c["]["]"#, r#"a_b.c["]["]"#),
            (r#"a_b.c["\\"]"#, r#"a_b.c["\\"]"#),
            (r#" a_b . c [ "x y" ] "#, r#"a_b.c["x y"]"#),
            ("resource.a_b.c[01]", "a_b.c[1]"),
            ("resource.var.c", "resource.var.c"),
            ("module.m.resource.a_b.c", "module.m.a_b.c"),
            ("é-1._c", "é-1._c"),
            ("module.module.module.m[0].data.a_b.c", "module.module.module.m[0].data.a_b.c"),
            ("ephemeral.a_b.c", "ephemeral.a_b.c"),
        ] {
            assert!(covers(written, printed) && covers(printed, written), "{written}");
        }
    }

    #[test]
    fn instances_and_contents_are_covered() {
        for (one, other, is_covered) in [
            ("a.b", r#"a.b["x"]"#, true),
            (r#"a.b["x"]"#, "a.b", false),
            (r#"a.b["1"]"#, "a.b[1]", false),
            ("a.b", "a.bc", false),
            ("a.b", "data.a.b", false),
            ("module.m", r#"module.m["x.y"].a.b"#, true),
            (r#"module.m["x"]"#, r#"module.m["x.y"].a.b"#, false),
            ("module.m", "module.mm.a.b", false),
        ] {
            assert_eq!(covers(one, other), is_covered, "{one} {other}");
        }
    }

    #[test]
    fn what_terraform_rejects() {
        for (text, why) in [
            ("", "a name is missing"),
            ("a", "a type and a name"),
            ("module", "the name of a module must follow"),
            (r#"module["a"].b"#, "the name of a module must follow"),
            ("module.m.a", "a type and a name"),
            (r#"module.m[0]["x"]"#, "a type and a name"),
            ("data.a", "a type and a name"),
            (r#"a["x"].b"#, "a type and a name"),
            ("a.b.c", "only a key in brackets"),
            ("a.b[0][1]", "only a key in brackets"),
            (r#"a.b["x"].c"#, "only a key in brackets"),
            ("var.x", "write `resource.var` if"),
            ("module.m.count.x", "write `resource.count` if"),
            (r#"a.b["${x}"]"#, "write `$${` for `${`"),
            (r#"a.b["%{x}"]"#, "write `%%{` for `%{`"),
            (r#"a.b["\q"]"#, "after `\\` in a key"),
            (r#"a.b["\u00"]"#, "is not a Unicode character"),
            (r#"a.b["\ud800"]"#, "is not a Unicode character"),
            (r#"a.b["\u+0e9"]"#, "is not a Unicode character"),
            ("a.b[\"x\ny\"]", "is written `\\n`"),
            (r#"a.b["x]"#, "no closing quote"),
            (r#"a.b["x""#, "`]` must follow"),
            ("a.b[-1]", "a whole number or a key"),
            ("a.b[x]", "a whole number or a key"),
            ("a.b[*]", "a whole number or a key"),
            ("a.b[99999999999999999999]", "a whole number or a key"),
            ("a.b[1.5]", "`]` must follow"),
            ("a.*", "`*` is not a name"),
            ("a.0", "`0` is not a name"),
            ("a..b", "a name is missing"),
            ("a.", "a name is missing"),
            ("a b", "expected `.` or `[` instead of `b`"),
            ("a/b.c", "`a/b` is not a name"),
            ("a.\u{1b}[2J", "`\\u{1b}` is not a name"),
        ] {
            let refused = text.parse::<Address>().unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}

//! The expressions of workflows, as far as the examples use them: names, strings, `==`, `!=`, `&&`,
//! `||`, parentheses, `startsWith`, `fromJSON`. Anything else is a failure of the test.

use serde_json::Value;

/// Replaces each `${{ … }}` in a text. A text that is one expression keeps the type of its value.
pub(crate) fn expand(text: &str, context: &Value) -> Value {
    let whole = text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    if let Some(expression) = whole.filter(|it| !it.contains("${{")) {
        return evaluate(expression, context);
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").expect("an expression ends with `}}`");
        out.push_str(before);
        out.push_str(&shown(&evaluate(expression, context)));
        rest = after;
    }
    Value::from(out + rest)
}

/// As GitHub writes a value into a text: what has no value is empty.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && *value != "" && *value != 0
}

pub(crate) fn evaluate(expression: &str, context: &Value) -> Value {
    let mut parser = Parser { rest: expression.trim(), context };
    let value = parser.any();
    assert_eq!(parser.rest, "", "not understood in `{expression}`");
    value
}

struct Parser<'t> {
    rest: &'t str,
    context: &'t Value,
}

impl Parser<'_> {
    fn takes(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(token) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn any(&mut self) -> Value {
        let mut value = self.all();
        while self.takes("||") {
            let other = self.all();
            value = if is_true(&value) { value } else { other };
        }
        value
    }

    fn all(&mut self) -> Value {
        let mut value = self.comparison();
        while self.takes("&&") {
            let other = self.comparison();
            value = if is_true(&value) { other } else { value };
        }
        value
    }

    fn comparison(&mut self) -> Value {
        let value = self.operand();
        if self.takes("==") {
            return Value::from(self.operand() == value);
        }
        if self.takes("!=") {
            return Value::from(self.operand() != value);
        }
        value
    }

    fn operand(&mut self) -> Value {
        if self.takes("(") {
            let value = self.any();
            assert!(self.takes(")"), "`)` is missing before `{}`", self.rest);
            return value;
        }
        if let Some(text) = self.rest.strip_prefix('\'') {
            let (text, rest) = text.split_once('\'').expect("a string ends");
            self.rest = rest.trim_start();
            return Value::from(text);
        }
        if self.takes("startsWith(") {
            let text = self.any();
            assert!(self.takes(","), "`,` is missing before `{}`", self.rest);
            let start = self.any();
            assert!(self.takes(")"), "`)` is missing before `{}`", self.rest);
            return Value::from(shown(&text).starts_with(&shown(&start)));
        }
        if self.takes("fromJSON(") {
            let text = shown(&self.any());
            assert!(self.takes(")"), "`)` is missing before `{}`", self.rest);
            return serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("not JSON: {error}: `{text}`"));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        assert!(!name.is_empty(), "not understood: `{}`", self.rest);
        self.rest = rest.trim_start();
        let mut parts = name.split('.');
        let first = parts.next().unwrap();
        let known = self.context.get(first);
        let known = known.unwrap_or_else(|| panic!("there is no context `{first}` here"));
        parts.fold(known.clone(), |value, part| value[part].clone())
    }
}

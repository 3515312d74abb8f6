//! The blocks of a file of Terraform code, in one form for both of its syntaxes.

use std::collections::BTreeMap;

use hcl_edit::{
    Span,
    expr::Expression,
    structure::{self, Structure},
};

use super::{
    files,
    requirement::{self, Requirement},
};
use crate::base::json::Json;

/// A block at the top of a file.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) label: String,
    /// `infra/main.tf:3`; for JSON, the file.
    pub(crate) place: String,
    /// Names of attributes and inner blocks, which JSON does not distinguish.
    members: BTreeMap<String, Literal>,
    /// `required_version` of a block `terraform`.
    pub(crate) requirement: Option<Requirement>,
}

#[derive(Debug)]
enum Literal {
    Text(String),
    False,
    /// The names in an inner block, or in an object of JSON.
    Inner(Vec<String>),
    Other,
}

const TERRAFORM: &str = "terraform";

/// The blocks that have a label, of those that cdflow reads. `terraform` has none.
const LABELLED: [&str; 6] = ["variable", "module", "provider", "resource", "data", "ephemeral"];

impl Block {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.members.get(name) {
            Some(Literal::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the names in an inner block.
    pub(crate) fn inner(&self, name: &str) -> &[String] {
        match self.members.get(name) {
            Some(Literal::Inner(names)) => names,
            _ => &[],
        }
    }

    /// Whether an attribute is there and can be true: Terraform converts strings.
    pub(crate) fn can_be_true(&self, name: &str) -> bool {
        match self.members.get(name) {
            None | Some(Literal::False) => false,
            Some(Literal::Text(text)) => text != "false",
            Some(Literal::Inner(_) | Literal::Other) => true,
        }
    }
}

/// Returns the blocks of `text` that cdflow reads; None if it cannot be parsed.
pub(crate) fn read(text: &str, is_json: bool, file: &str) -> Option<Vec<Block>> {
    if !is_json {
        return of_hcl(text, file);
    }
    let mut blocks = of_json(&Json::parse(text).ok()?, file)?;
    blocks.iter_mut().filter_map(|it| it.requirement.as_mut()).for_each(|it| it.locate(text));
    Some(blocks)
}

/// Returns the names that a file of values assigns; None if it cannot be parsed.
pub(crate) fn assigned(text: &str, is_json: bool) -> Option<Vec<String>> {
    if is_json {
        let root = Json::parse(text).ok()?;
        return Some(members(&root)?.into_iter().map(|(name, _)| name.to_owned()).collect());
    }
    let body = hcl_edit::parser::parse_body(text).ok()?;
    Some(body.attributes().map(|attribute| attribute.key.as_str().to_owned()).collect())
}

fn of_hcl(text: &str, file: &str) -> Option<Vec<Block>> {
    let body = hcl_edit::parser::parse_body(text).ok()?;
    let read = |block: &structure::Block| Block {
        kind: block.ident.as_str().to_owned(),
        label: block.labels.first().map(|label| label.as_str().to_owned()).unwrap_or_default(),
        place: format!("{file}:{}", line_of(block, text)),
        members: block.body.iter().map(hcl_member).collect(),
        requirement: Some(block)
            .filter(|block| block.ident.as_str() == TERRAFORM)
            .and_then(|block| Requirement::of_hcl(block, text, file)),
    };
    Some(body.blocks().map(read).collect())
}

fn hcl_member(member: &Structure) -> (String, Literal) {
    match member {
        Structure::Block(block) => {
            let names = block.body.attributes().map(|inner| inner.key.as_str().to_owned());
            (block.ident.as_str().to_owned(), Literal::Inner(names.collect()))
        }
        Structure::Attribute(attribute) => {
            let literal = match (&attribute.value, attribute.value.as_str()) {
                (_, Some(text)) => Literal::Text(text.to_owned()),
                (Expression::Bool(value), _) if !**value => Literal::False,
                _ => Literal::Other,
            };
            (attribute.key.as_str().to_owned(), literal)
        }
    }
}

fn line_of(block: &structure::Block, text: &str) -> usize {
    let start = block.ident.span().or_else(|| block.span()).map_or(0, |span| span.start);
    files::line_at(text, start)
}

/// In JSON, an object or a list of objects can be written wherever blocks can be, and a key can be
/// there twice.
fn of_json(root: &Json, file: &str) -> Option<Vec<Block>> {
    let mut found = Vec::new();
    for (kind, value) in members(root)? {
        if LABELLED.contains(&kind) {
            for (label, body) in members(value)? {
                add_bodies(&mut found, kind, label, body, file)?;
            }
        } else if kind == TERRAFORM {
            add_bodies(&mut found, kind, "", value, file)?;
        }
    }
    Some(found)
}

fn add_bodies(
    found: &mut Vec<Block>,
    kind: &str,
    label: &str,
    body: &Json,
    file: &str,
) -> Option<()> {
    let bodies = match body {
        Json::Array(items) => items.iter().collect(),
        body if body.is("null") => Vec::new(),
        body => vec![body],
    };
    for body in bodies {
        let members = members(body)?.into_iter();
        let mut required = members.clone().filter(|(name, _)| *name == requirement::NAME);
        let required = required.next_back().filter(|_| kind == TERRAFORM);
        found.push(Block {
            kind: kind.to_owned(),
            label: label.to_owned(),
            place: file.to_owned(),
            members: members.map(|(name, value)| (name.to_owned(), json_literal(value))).collect(),
            requirement: required.map(|(_, value)| Requirement::of_json(value, file)),
        });
    }
    Some(())
}

fn json_literal(value: &Json) -> Literal {
    match value.as_str() {
        Some(text) => Literal::Text(text),
        None if value.is("false") => Literal::False,
        None => match members(value) {
            Some(inner) => {
                Literal::Inner(inner.iter().map(|(name, _)| (*name).to_owned()).collect())
            }
            None => Literal::Other,
        },
    }
}

/// Returns the members of an object, of a list of objects, or of null.
fn members(value: &Json) -> Option<Vec<(&str, &Json)>> {
    match value {
        Json::Object(members) => {
            Some(members.iter().map(|(name, value)| (name.as_str(), value)).collect())
        }
        Json::Array(items) => {
            let lists = items.iter().map(|item| match item {
                Json::Object(_) => members(item),
                _ => None,
            });
            Some(lists.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        value => value.is("null").then(Vec::new),
    }
}

//! Elements of lists that do not change. Terraform shows them as context, and those of sets as
//! removed and added again.

use super::line::Line;

/// An element of several lines: `{`, its values and `},`.
#[derive(Clone, Copy)]
struct Element {
    mark: Option<char>,
    start: usize,
    /// The line after `},`.
    end: usize,
}

/// Replaces unchanged elements by a line that counts them.
pub(super) fn without_unchanged(lines: Vec<Line>) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let elements = elements_at(&lines, at);
        let Some(last) = elements.last() else {
            out.extend(lines.get(at).cloned());
            at += 1;
            continue;
        };
        let hidden = unchanged(&lines, &elements);
        let mut count = 0;
        for (element, is_hidden) in elements.iter().zip(&hidden) {
            match is_hidden {
                true => count += usize::from(element.mark != Some('-')),
                // The elements of a changed one can be unchanged too.
                false => {
                    let inside = &lines[element.start + 1..element.end - 1];
                    out.extend(lines.get(element.start).cloned());
                    out.extend(without_unchanged(inside.to_vec()));
                    out.extend(lines.get(element.end - 1).cloned());
                }
            }
        }
        if count > 0 {
            let noun = if count == 1 { "element" } else { "elements" };
            let column = lines.get(at).map_or(2, |line| line.column);
            out.push(Line::new(None, column, format!("# ({count} unchanged {noun} hidden)")));
        }
        at = last.end;
    }
    out
}

/// Returns the elements of a list, from the line at `at` on, as far as one follows the other.
fn elements_at(lines: &[Line], at: usize) -> Vec<Element> {
    let mut found = Vec::new();
    let mut start = at;
    while let Some(first) = lines.get(start).filter(|it| it.text == "{" && !it.is_string) {
        let is_end = |line: &Line| line.column <= first.column && !line.is_string;
        let Some(length) = lines[start + 1..].iter().position(is_end) else { break };
        let end = start + length + 2;
        if lines.get(end - 1).is_none_or(|it| it.text != "}," || it.column != first.column) {
            break;
        }
        found.push(Element { mark: first.mark, start, end });
        start = end;
    }
    found
}

/// Returns which elements do not change: those without a mark, and those that are removed and added
/// with the same values.
fn unchanged(lines: &[Line], elements: &[Element]) -> Vec<bool> {
    let inside = |of: &Element| &lines[of.start + 1..of.end - 1];
    let mut hidden: Vec<bool> = elements
        .iter()
        .map(|it| it.mark.is_none() && inside(it).iter().all(|line| line.mark.is_none()))
        .collect();
    let values: Vec<Option<Vec<&str>>> = elements.iter().map(|it| values(inside(it))).collect();
    for (removed, of_removed) in elements.iter().enumerate().filter(|(_, it)| it.mark == Some('-'))
    {
        let is_same = |(added, element): &(usize, &Element)| {
            element.mark == Some('+')
                && !hidden[*added]
                && values[removed].is_some()
                && values[removed] == values[*added]
        };
        let same = elements.iter().enumerate().find(is_same).map(|(added, _)| added);
        if let Some(added) = same.filter(|_| of_removed.end > of_removed.start) {
            (hidden[removed], hidden[added]) = (true, true);
        }
    }
    hidden
}

/// Returns the values of an element. None if it has one that the text does not show: two of them
/// could differ.
fn values(inside: &[Line]) -> Option<Vec<&str>> {
    let texts = inside.iter().map(|line| line.text.trim_end_matches(" -> null"));
    let texts: Vec<&str> = texts.filter(|text| !text.starts_with("# (")).collect();
    let is_hidden = |text: &&str| {
        ["(sensitive value)", "(known after apply)", "***"].iter().any(|it| text.contains(it))
    };
    (!texts.iter().any(is_hidden)).then_some(texts)
}

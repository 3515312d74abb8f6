//! Strings of several lines: only what is near a change is shown.

use super::line::Line;

/// Lines that are shown before and after a change.
const CONTEXT: usize = 2;
/// Fewer lines are not worth a line that counts them.
const MIN_HIDDEN: usize = 3;
/// The greatest product of the numbers of lines that are compared: what differs between longer
/// texts is shown as removed and added as a whole.
const MAX_COMPARED: usize = 1 << 20;

/// Replaces lines of strings that are far from a change by a line that counts them.
pub(super) fn without_context(lines: Vec<Line>) -> Vec<Line> {
    let is_far = |at: usize| {
        let line = &lines[at];
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(lines.len()));
        let is_near = lines[from..to].iter().any(|near| near.is_string && near.mark.is_some());
        line.is_string && line.mark.is_none() && !is_near
    };
    let mut out: Vec<Line> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let far = (at..lines.len()).take_while(|at| is_far(*at)).count();
        if far >= MIN_HIDDEN {
            out.push(Line::new(None, lines[at].column, format!("… {far} unchanged lines")));
            at += far;
        } else {
            out.extend(lines.get(at..at + far.max(1)).unwrap_or_default().iter().cloned());
            at += far.max(1);
        }
    }
    out
}

/// Compares two texts line by line.
pub(super) fn compared(old: &str, new: &str, column: usize) -> Vec<Line> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[first..], &new[first..]);
    let last = old_rest.iter().rev().zip(new_rest.iter().rev());
    let last = last.take_while(|(old, new)| old == new).count();
    let line = |mark, text: &&str| Line::of_string(mark, column, *text);
    let mut lines: Vec<Line> = old[..first].iter().map(|text| line(None, text)).collect();
    let middle = (&old_rest[..old_rest.len() - last], &new_rest[..new_rest.len() - last]);
    lines.extend(steps(middle.0, middle.1).iter().map(|(mark, text)| line(*mark, text)));
    lines.extend(old_rest[old_rest.len() - last..].iter().map(|text| line(None, text)));
    lines
}

/// Returns the lines that are removed, added and kept, with the longest common subsequence.
fn steps<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(Option<char>, &'t str)> {
    let of = |mark: char| move |text: &&'t str| (Some(mark), *text);
    if old.len().saturating_mul(new.len()) > MAX_COMPARED {
        return old.iter().map(of('-')).chain(new.iter().map(of('+'))).collect();
    }
    // The length of the longest common subsequence of what begins at two lines.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for at in (0..old.len()).rev() {
        for other in (0..new.len()).rev() {
            common[at][other] = match old[at] == new[other] {
                true => common[at + 1][other + 1] + 1,
                false => common[at + 1][other].max(common[at][other + 1]),
            };
        }
    }
    let (mut at, mut other, mut found) = (0, 0, Vec::new());
    while at < old.len() || other < new.len() {
        let is_same = at < old.len() && other < new.len() && old[at] == new[other];
        let removes = at < old.len()
            && (other == new.len() || common[at + 1][other] >= common[at][other + 1]);
        match (is_same, removes) {
            (true, _) => found.push((None, old[at])),
            (false, true) => found.push((Some('-'), old[at])),
            (false, false) => found.push((Some('+'), new[other])),
        }
        at += usize::from(is_same || removes);
        other += usize::from(is_same || !removes);
    }
    found
}

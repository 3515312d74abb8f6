//! Marks that a killed deletion has left behind, of releases that no longer exist. No deploy and no
//! deletion looks at them any more.

use jiff::Timestamp;

use crate::{
    base::error::{Exit, Result},
    context::Context,
    release::deletion::is_dead,
};

/// Returns the keys of such marks.
pub(super) async fn dead(context: &Context) -> Result<Vec<String>> {
    let now = Timestamp::now();
    let mut found = Vec::new();
    for mark in context.store.list_all(&context.identity.deletions_prefix()).await? {
        let Some(version) = context.identity.version_of_deletion(&mark.key) else { continue };
        let is_old = mark.modified.is_some_and(|marked| is_dead(marked, now));
        let release = context.release(version);
        if is_old && context.store.head(&release.key()).await?.is_none() {
            found.push(mark.key);
        }
    }
    Ok(found)
}

/// Returns how many were removed. A role that may not delete them is a warning, because they are
/// small.
pub(super) async fn remove(context: &Context, keys: &[String]) -> Result<usize> {
    for (number, key) in keys.iter().enumerate() {
        context.host.interrupt.check("removing more marks")?;
        let removing = context.store.delete(key);
        match context.host.interrupt.or_last_answer("removing old marks", removing).await {
            Err(denied) if denied.exit() == Exit::Credentials => {
                let left = keys.len() - number;
                let what = format!("{left} mark(s) of killed deletions are not removed: {denied}");
                context.host.log.warning(&what);
                return Ok(number);
            }
            done => done?,
        }
    }
    Ok(keys.len())
}

//! The records of plans that pull requests showed. They are needed only until the merge.

use jiff::{SignedDuration, Timestamp};

use crate::{
    base::error::{Exit, Result},
    context::Context,
    services::store::ListedObject,
};

/// Records listed at a time.
const PAGE: usize = 1000;

/// Returns the keys of the records that are older than `minimum_age`. The key that protects them is
/// none of them.
pub(super) async fn old(context: &Context, minimum_age: SignedDuration) -> Result<Vec<String>> {
    let (store, prefix) = (&context.store, context.identity.reviews_prefix());
    let now = Timestamp::now();
    let mut old = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.list(&prefix, after.as_deref(), PAGE).await?;
        after = page.last().map(|listed| listed.key.clone()).filter(|_| page.len() == PAGE);
        let is_old = |it: &ListedObject| {
            let age = it.modified.map(|modified| now.duration_since(modified));
            it.key.ends_with(".json") && age.is_some_and(|age| age >= minimum_age)
        };
        old.extend(page.into_iter().filter(is_old).map(|listed| listed.key));
        if after.is_none() {
            return Ok(old);
        }
    }
}

/// Returns how many were deleted. A role that may not delete them is a warning, because they are
/// small, and no release is among them.
pub(super) async fn delete(context: &Context, keys: &[String]) -> Result<usize> {
    for (number, key) in keys.iter().enumerate() {
        context.host.interrupt.check("deleting more recorded plans")?;
        match context.store.delete(key).await {
            Err(denied) if denied.exit() == Exit::Credentials => {
                let left = keys.len() - number;
                let what = format!("{left} old recorded plan(s) are not deleted: {denied}");
                context.host.log.warning(&what);
                return Ok(number);
            }
            done => done?,
        }
    }
    Ok(keys.len())
}

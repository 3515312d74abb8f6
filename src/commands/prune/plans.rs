//! The records of plans that pull requests showed, and the stored plans. They are needed only until
//! the merge.

use jiff::{SignedDuration, Timestamp};

use crate::{
    base::error::{Exit, Result},
    context::Context,
    deploy::review::{PLAN, QUEUED, RECORD},
    services::store::ListedObject,
};

/// Returns the keys of the records that are older than `minimum_age`, and of their plans. The key
/// that protects them is none of them.
pub(super) async fn old(context: &Context, minimum_age: SignedDuration) -> Result<Vec<String>> {
    let now = Timestamp::now();
    let is_old = |it: &ListedObject| {
        let age = it.modified.map(|modified| now.duration_since(modified));
        [RECORD, PLAN, QUEUED].iter().any(|end| it.key.ends_with(end))
            && age.is_some_and(|age| age >= minimum_age)
    };
    let listed = context.store.list_all(&context.identity.reviews_prefix()).await?;
    Ok(listed.into_iter().filter(is_old).map(|listed| listed.key).collect())
}

/// Returns how many plans these keys are of. A record and its stored plan are one.
pub(super) fn count(keys: &[String]) -> usize {
    keys.iter().filter(|key| key.ends_with(RECORD)).count()
}

/// Returns how many were deleted. A role that may not delete them is a warning, because they are
/// small, and no release is among them.
pub(super) async fn delete(context: &Context, keys: &[String]) -> Result<usize> {
    for (number, key) in keys.iter().enumerate() {
        context.host.interrupt.check("deleting more recorded plans")?;
        let deleting = context.store.delete(key);
        match context.host.interrupt.or_last_answer("deleting recorded plans", deleting).await {
            Err(denied) if denied.exit() == Exit::Credentials => {
                let left = count(&keys[number..]);
                let what = format!("{left} old recorded plan(s) are not deleted: {denied}");
                context.host.log.warning(&what);
                return Ok(count(&keys[..number]));
            }
            done => done?,
        }
    }
    Ok(count(keys))
}

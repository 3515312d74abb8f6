//! Causes of Terraform's failures that are not in the code: of the machine, of the state and of the
//! access to it. A table from Terraform's words to the exit code and the fix.

use std::path::Path;

use crate::base::{
    authorities::ADD_AUTHORITY,
    error::{Error, Exit},
};

/// Where a cause can be recognised. The same words of a resource are about the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any step but an apply, which might have changed something.
    Anywhere,
    /// Only where Terraform reads, writes or locks the state.
    State,
}

struct Cause {
    /// All of them must be in the output.
    words: &'static [&'static str],
    reach: Reach,
    exit: Exit,
    what: &'static str,
    hint: &'static str,
}

const CAUSES: [Cause; 14] = [
    Cause {
        words: &["fork/exec", "permission denied"],
        reach: Reach::Anywhere,
        exit: Exit::Input,
        what: "a provider cannot be started from the temporary folder",
        hint: "set TMPDIR to a folder whose file system allows programs (not mounted `noexec`)",
    },
    Cause {
        // Of a local state: others have no such file.
        words: &["Error acquiring the state lock", ".lock.info", "no space left on device"],
        reach: Reach::Anywhere,
        exit: Exit::Input,
        what: "the disk of the state is full",
        hint: "free some space on the disk of the state",
    },
    Cause {
        words: &["no space left on device"],
        reach: Reach::Anywhere,
        exit: Exit::Input,
        what: "the disk is full",
        hint: "free some space, or set TMPDIR to a folder on a larger disk",
    },
    Cause {
        words: &["cannot allocate memory"],
        reach: Reach::Anywhere,
        exit: Exit::Input,
        what: "Terraform or a provider gets no memory",
        hint: "raise `ulimit -v`, or the limit of the container",
    },
    Cause {
        words: &["too many open files"],
        reach: Reach::Anywhere,
        exit: Exit::Input,
        what: "Terraform cannot open more files",
        hint: "raise `ulimit -n`",
    },
    Cause {
        words: &["does not match the checksum stored in DynamoDB"],
        reach: Reach::Anywhere,
        exit: Exit::Integrity,
        what: DIGEST,
        hint: DIGEST_FIX,
    },
    Cause {
        words: &["state data in S3 does not have the expected content"],
        reach: Reach::Anywhere,
        exit: Exit::Integrity,
        what: DIGEST,
        hint: DIGEST_FIX,
    },
    // The messages of Go, and of GnuTLS and OpenSSL, which git uses.
    Cause {
        words: &["certificate signed by unknown authority"],
        reach: Reach::Anywhere,
        exit: Exit::Unavailable,
        what: UNTRUSTED,
        hint: ADD_AUTHORITY,
    },
    Cause {
        words: &["server certificate verification failed"],
        reach: Reach::Anywhere,
        exit: Exit::Unavailable,
        what: UNTRUSTED,
        hint: ADD_AUTHORITY,
    },
    Cause {
        words: &["SSL certificate problem"],
        reach: Reach::Anywhere,
        exit: Exit::Unavailable,
        what: UNTRUSTED,
        hint: ADD_AUTHORITY,
    },
    Cause {
        words: &["ExpiredToken"],
        reach: Reach::State,
        exit: Exit::Credentials,
        what: "the credentials for the state have expired",
        hint: "get new credentials and run again",
    },
    Cause {
        words: &["AccessDenied"],
        reach: Reach::State,
        exit: Exit::Credentials,
        what: DENIED,
        hint: DENIED_FIX,
    },
    Cause {
        words: &["not authorized to perform"],
        reach: Reach::State,
        exit: Exit::Credentials,
        what: DENIED,
        hint: DENIED_FIX,
    },
    Cause {
        words: &["exceeded maximum number of attempts"],
        reach: Reach::State,
        exit: Exit::Unavailable,
        what: "AWS did not answer for the state",
        hint: "run again later: the service failed even after retries",
    },
];

const DIGEST: &str = "the state does not match its digest in the lock table";
const DIGEST_FIX: &str = "if it was written a moment ago, run again; otherwise restore the state's \
     version that the item `…-md5` of the table `terraform-backend-s3-dynamodb-table` describes, \
     or correct that item";
const UNTRUSTED: &str = "Terraform, a provider or git does not trust a server's certificate";
const DENIED: &str = "access to the state or its lock is denied";
const DENIED_FIX: &str =
    "give the role of the release account this permission for the state bucket and the lock table";

/// Returns the error for a local state that the user of Terraform cannot lock, with the folder to
/// change. `message` is Terraform's, such as `open /…/live/terraform.tfstate: permission denied`.
pub(super) fn unwritable(message: &str, environment: &str) -> Option<Error> {
    let (opening, fix) = [
        (": permission denied", "give the user that runs Terraform write permission for"),
        (": read-only file system", "mount the file system so that Terraform can write to"),
    ]
    .iter()
    .find_map(|(words, fix)| Some((message.split_once(words)?.0, fix)))?;
    let path = Path::new(opening.rsplit_once("open ")?.1);
    let folder = path.parent().filter(|_| path.is_absolute())?;
    let what = format!("the state of `{environment}` cannot be locked");
    Some(
        Error::input(what)
            .why(message)
            .hint(format!("{fix} `{}` and the files in it; nothing was changed", folder.display())),
    )
}

/// Returns the error of a known cause, with Terraform's words as the reason. `contains` looks in
/// the output.
pub(super) fn find(
    contains: impl Fn(&str) -> bool,
    reach: Reach,
    environment: &str,
    why: &str,
) -> Option<Error> {
    let is_known = |cause: &&Cause| {
        (cause.reach == Reach::Anywhere || reach == Reach::State)
            && cause.words.iter().all(|words| contains(words))
    };
    CAUSES.iter().find(is_known).map(|cause| {
        let place =
            if environment.is_empty() { String::new() } else { format!(" (`{environment}`)") };
        Error::new(cause.exit, format!("{}{place}", cause.what)).why(why).hint(cause.hint)
    })
}

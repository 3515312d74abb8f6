//! What every layer uses; it imports nothing of cdflow outside of itself.

pub(crate) mod blocking;
pub(crate) mod checkout_path;
pub(crate) mod digest;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod interrupt;
pub(crate) mod json;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod owner;
pub(crate) mod pace;
pub(crate) mod parallel;
pub(crate) mod printable;
pub(crate) mod process;
pub(crate) mod process_env;
pub(crate) mod redact;
pub(crate) mod retry;
pub(crate) mod run_as;
pub(crate) mod run_folder;
pub(crate) mod small_file;
pub(crate) mod spelling;
pub(crate) mod table;
pub(crate) mod units;
pub(crate) mod url;
pub(crate) mod working_link;
pub(crate) mod zombies;

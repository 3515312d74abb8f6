/// The service. It can use the crates of the build image: tide, surf, serde and a few more.
pub fn handler() -> tide::Server<()> {
    let mut api = tide::new();
    api.at("/").get(|_| async { Ok(greeting()) });
    api
}

/// Returns the greeting, which the environment variable GREETING sets.
pub fn greeting() -> String {
    std::env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned())
}

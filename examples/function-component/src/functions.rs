/// The service. The build image decides which crates it can use: tide, surf, serde and a few more.
pub fn handler() -> tide::Server<()> {
    let mut api = tide::new();
    api.at("/").get(|_| async { Ok(greeting()) });
    api.at("/healthz").get(|_| async { Ok("well".to_owned()) });
    api
}

/// Returns the greeting. Set GREETING where this runs.
pub fn greeting() -> String {
    std::env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned())
}

/// The service; what it may use is what the build image has: tide, surf, serde and a few more.
pub fn handler() -> tide::Server<()> {
    let mut api = tide::new();
    api.at("/").get(|_| async { Ok(greeting()) });
    api
}

/// GREETING is set where this runs.
pub fn greeting() -> String {
    std::env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned())
}

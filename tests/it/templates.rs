//! What filling in a template costs: it runs in every request that starts something, so it must stay linear.

use kijko_core::domain::templates::render;
use serde_json::{Map, Value, json};

/// `cargo test --release -p kijko-tests --test it -- --ignored what_rendering_costs --nocapture`
#[test]
#[ignore = "prints figures, which only a quiet machine is good for"]
#[expect(clippy::print_stdout, reason = "it is for whoever measures")]
fn what_rendering_costs() {
    let one = |value: Value| Map::from_iter([("a".to_owned(), value)]);
    let megabyte = || one("x {{a}} ".repeat(1 << 17).into());
    let many: Map<_, _> = (0..1000).map(|i| (format!("v{i}"), "y".repeat(1048).into())).collect();
    let names: String = (0..1000).map(|i| format!("{{{{v{i}}}}} ")).collect();
    let named = |times: usize| format!("{:z<10000}", "{{a}}".repeat(times));
    for (what, template, input) in [
        ("one variable of 1 MiB", named(1), megabyte()),
        ("three variables of 1 MiB", named(3), megabyte()),
        ("1000 variables of 1 KiB", format!("{names:<10000}"), many),
        ("nothing but braces", "{".repeat(10_000), megabyte()),
        ("nothing but beginnings", "{{a ".repeat(2500), megabyte()),
        ("a list of 1 MiB", named(1), one(json!(vec!["x".repeat(8); 95_000]))),
    ] {
        let mut taken: Vec<_> = (0..21)
            .map(|_| {
                let started = std::time::Instant::now();
                std::hint::black_box(render(&template, &[], &input));
                started.elapsed()
            })
            .collect();
        taken.sort();
        println!("{what:28} median {:>8.2?}, most {:>8.2?}", taken[10], taken[20]);
    }
}

//! How long a refused sign-in takes must not tell whether the address has an account.

use std::time::Instant;

use serde_json::json;

use crate::harness::Installation;

const ACCOUNTS: usize = 50;
/// One less than what locks an account.
const EACH: usize = 4;

fn quartiles(times: &mut [f64]) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [1, 2, 3].map(|n| times[times.len() * n / 4])
}

/// `cargo test -p kijko-tests --test it -- --ignored known_and_unknown --nocapture`, on a quiet machine.
#[tokio::test]
#[ignore = "a measurement: it needs a quiet machine, and takes a while"]
async fn known_and_unknown_addresses_take_the_same_time() {
    let app = Installation::new().await;
    for n in 0..ACCOUNTS {
        app.sign_up(&format!("known-{n}@example.com")).await;
    }
    let mut times = [Vec::new(), Vec::new()];
    let attempt = async |kind: &str, n: usize| {
        let body = json!({ "email": format!("{kind}-{n}@example.com"), "password": "wrongpass1" });
        let started = Instant::now();
        app.nobody().post("/api/v1/auth/login", body).await.refused(401, "INVALID_CREDENTIALS");
        started.elapsed().as_secs_f64() * 1000.0
    };
    attempt("warm-up", 0).await;
    for round in 0..EACH {
        for n in 0..ACCOUNTS {
            // Taking turns, and in turn first, so that both see the same machine.
            for kind in if (round + n) % 2 == 0 { [0, 1] } else { [1, 0] } {
                times[kind].push(attempt(["known", "unknown"][kind], n).await);
            }
        }
    }
    let [known, unknown] = times.each_mut().map(|times| quartiles(times));
    for (name, [first, median, third]) in [("known", known), ("unknown", unknown)] {
        println!("{name:>8}: quartiles {first:.2} | {median:.2} | {third:.2} ms, of {} attempts", ACCOUNTS * EACH);
    }
    let spread = known[2] - known[0];
    let apart = (known[1] - unknown[1]).abs();
    println!("the medians are {apart:.3} ms apart, within a spread of {spread:.3} ms");
    assert!(apart < spread / 2.0, "the medians tell known addresses from unknown ones");
}

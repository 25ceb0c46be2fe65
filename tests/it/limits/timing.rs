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

/// How often whoever takes the longer of two attempts for the one at a known address is right: the Mann-Whitney statistic,
/// which noise does not move. One half is chance.
#[expect(clippy::float_arithmetic, reason = "this is a measurement")]
fn right_guesses(known: &[f64], unknown: &[f64]) -> f64 {
    let longer = known.iter().flat_map(|known| unknown.iter().map(move |unknown| known > unknown));
    let right = longer.filter(|longer| *longer).count();
    right as f64 / (known.len() * unknown.len()) as f64
}

/// `cargo test -p kijko-tests --test it -- --ignored known_and_unknown --nocapture`, on a quiet machine.
#[tokio::test]
#[ignore = "a measurement: it needs a quiet machine, and takes a while"]
async fn refusals_at_known_and_unknown_addresses_take_the_same_time() {
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
    let guess = right_guesses(&times[0], &times[1]);
    for (name, times) in ["known", "unknown"].iter().zip(&mut times) {
        let [first, median, third] = quartiles(times);
        println!("{name:>8}: quartiles {first:.2} | {median:.2} | {third:.2} ms, of {} attempts", times.len());
    }
    println!("of two attempts, the longer one is at a known address in {:.1} % of all pairs", guess * 100.0);
    // Three standard deviations of what chance gives with so many attempts.
    assert!((guess - 0.5).abs() < 0.09, "whoever takes the longer one for known is right too often, or too seldom");
}

//! Who runs `kijko`, and whether they mean it.

use std::io::{BufRead, IsTerminal, Write};

use kijko_core::services::identity::Operator;
use nix::unistd::{Uid, User, gethostname};
use secrecy::SecretString;

use crate::args::{Sure, Why};
use crate::exit::Failure;

/// Whoever is logged in here, and the reason they gave.
pub fn operator(why: &Why) -> Operator {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| format!("user {uid}"), |user| user.name);
    let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let reason = why.reason.clone().unwrap_or_else(|| "no reason given".to_owned());
    Operator { name: format!("{user}@{host}"), reason }
}

/// Goes on with `--yes`, or when a person says so. Whoever cannot be asked has to say so beforehand.
#[expect(clippy::print_stderr, reason = "a question to the person at the terminal")]
pub fn confirm(sure: &Sure, what: &str) -> Result<(), Failure> {
    if sure.yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Usage(format!("This {what}. Say --yes if you mean it.")));
    }
    eprint!("This {what}. Go on? [yes/no] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).ok();
    match answer.trim() {
        "yes" | "y" => Ok(()),
        _ => Err(Failure::Usage("Nothing was done.".to_owned())),
    }
}

/// The first line of standard input. Never from an argument, which every process on the machine can see.
pub fn password_from_stdin() -> Result<SecretString, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let rule =
            "--password-stdin reads a pipe, since a terminal would show the password; or leave it out for a link";
        return Err(Failure::Usage(rule.to_owned()));
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    read.map_err(|e| Failure::Usage(format!("Standard input cannot be read: {e}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned().into())
}

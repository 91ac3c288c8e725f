//! The `gluster` command: GlusterFS's words, layouts and exit codes over the daemon's CLI program.
//!
//! Text in, requests to the management daemon, text out. Nothing here changes a volume by itself.

mod ask;
mod bricks;
mod create;
mod daemon;
pub mod heal;
mod heal_source;
pub mod help;
mod info;
mod options;
mod peer;
mod run;
mod statistics;
mod status;
mod words;
mod xml;

use std::io::BufRead as _;
use std::io::Write as _;

use options::{Instead, Options};
use run::Answer;

use crate::rt;

/// The release of GlusterFS whose protocols and formats are spoken; tools read it from the first line of `--version`.
pub const GLUSTERFS_RELEASE: &str = "10.3";

/// The text of `--version` of every program.
pub fn version_text() -> String {
    format!(
        "glusterfs {GLUSTERFS_RELEASE}\nRingluster {}: GlusterFS's replicated file system on io_uring\nIt is licensed \
         to you under the Apache License, Version 2.0.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Runs the command line `args` (without the program's name) and returns the exit code.
pub fn main(args: &[String]) -> i32 {
    let options = match options::parse(args, |name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(instead) => {
            let answer = instead_of_a_command(&instead);
            answer.print();
            return answer.code;
        }
    };
    if options.words.is_empty() {
        return interactive(options);
    }
    one(&options)
}

fn instead_of_a_command(instead: &Instead) -> Answer {
    match instead {
        Instead::Help => Answer::out(run::global_help() + &help::options()),
        Instead::Version => Answer::out(version_text()),
        Instead::LogDirectory => Answer::out("/var/log/glusterfs\n"),
        Instead::StatedumpDirectory => Answer::out("/var/run/gluster\n"),
        Instead::Unrecognized(option) => run::option_error(option),
    }
}

fn one(options: &Options) -> i32 {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    if let Some(text) = help::family(&words) {
        let answer = Answer::out(text);
        answer.print();
        return answer.code;
    }
    let answer = match words::parse(&words) {
        Err(error) => run::word_error(&error),
        Ok(command) => match rt::block_on(run::run(command, options)) {
            Ok(answer) => answer,
            Err(e) => Answer::err(format!("The runtime could not be started: {e}\n")),
        },
    };
    answer.print();
    answer.code
}

/// Without words on the command line they are read, a command a line.
fn interactive(options: Options) -> i32 {
    let mut code = 0;
    loop {
        print!("gluster> ");
        // A terminal that has gone away gives the end of input below.
        let _ = std::io::stdout().flush();
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => return code,
            Ok(_) => {}
        }
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match words.first().map(String::as_str) {
            None => {}
            Some("quit" | "exit") => return code,
            Some(_) => {
                code = one(&Options {
                    words,
                    ..options.clone()
                })
            }
        }
    }
}

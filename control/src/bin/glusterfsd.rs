//! `glusterfsd`: one brick. Everything is in `control::process::brick`.

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    std::process::exit(control::process::brick::main(&words));
}

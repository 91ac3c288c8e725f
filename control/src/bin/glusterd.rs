//! `glusterd`: the management daemon. Everything is in `control::glusterd`.

fn main() {
    std::process::exit(control::glusterd::run::main());
}

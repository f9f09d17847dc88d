//! One binary is one region.

fn main() -> std::process::ExitCode {
    transship::cli::main()
}

//! The `pinrelay` binary; everything is in the library.

fn main() -> std::process::ExitCode {
    pinrelay::cli::main()
}

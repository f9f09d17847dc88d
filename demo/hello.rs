//! The program of the demo's image. It is static, prints the message that lies in another layer, and is all there is
//! in the image: `hello [FILE]`, by default `/message`.

fn main() {
    let file = std::env::args().nth(1).unwrap_or_else(|| "/message".to_owned());
    match std::fs::read_to_string(&file) {
        Ok(message) => print!("{message}"),
        Err(error) => {
            eprintln!("{file}: {error}");
            std::process::exit(1);
        }
    }
}

# What CI runs, step by step. `just ci` is all of it.

# Lists the recipes.
default:
    @just --list

# Everything that a change must pass.
ci:
    ./.ci/run

# Installs what the tests need, builds the binaries, and runs every test.
test:
    ./scripts/test

# The formatting.
fmt:
    cargo fmt --all --check

# The lints; a warning is an error.
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation; a warning is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Bans, licences, sources, advisories.
deny:
    ./scripts/deny

# The policy conformance suites, through the binary; other folders of suites can be named.
conformance *suites:
    ./scripts/conformance {{ suites }}

# The main job, on a folder of your own or on the project's documents.
demo *path:
    cargo run --release --bin keyserver -- demo {{ path }}

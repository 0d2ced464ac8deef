# docker build --build-arg COMMIT=$(git rev-parse --short HEAD) -t warren .
# docker run -p 5672:5672 -p 15672:15672 -v warren:/var/lib/warren -e WARREN_SECURITY__DEFAULT_PASSWORD_FILE=/run/secrets/password ...

FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libclang-dev protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG COMMIT=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    WARREN_COMMIT=$COMMIT CARGO_TARGET_DIR=/target cargo build --profile dist --locked --bin warren \
    && cp /target/dist/warren /warren

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 5672 --home-dir /var/lib/warren --create-home warren
COPY --from=build /warren /usr/local/bin/warren
COPY config/warren.toml /usr/share/warren/warren.toml
ENV WARREN_NODE__DATA_DIR=/var/lib/warren/data
USER 5672
WORKDIR /var/lib/warren
VOLUME /var/lib/warren
EXPOSE 5672 5671 15672 15671 15692
STOPSIGNAL SIGTERM
# The port opens when everything is recovered.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["bash", "-c", ": < /dev/tcp/127.0.0.1/5672"]
ENTRYPOINT ["/usr/local/bin/warren"]
CMD ["server"]

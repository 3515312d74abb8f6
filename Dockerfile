# The image of the Action: cdflow, Terraform, git, ssh and the certificates of the public authorities.
#
#   docker build --tag cdflow .
#   docker build --tag cdflow:slim --target slim .   # without Terraform, which cdflow then downloads
#
# The release workflow passes every base image by digest. BINARY=prebuilt copies ./cdflow from the build context instead of
# compiling it; that binary must run with the libc of the packages.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG TERRAFORM_IMAGE=hashicorp/terraform:1.11.4
ARG PACKAGES_IMAGE=debian:bookworm-slim
ARG BINARY=compiled

FROM ${RUST_IMAGE} AS compiled
WORKDIR /cdflow
# Dependencies first: this layer is reused until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/integration && echo 'fn main() {}' | tee src/main.rs tests/integration/main.rs && touch src/lib.rs \
    && cargo build --release --locked && rm -r src
COPY src src
# Cargo skips files that are older than its last build.
RUN find src -name '*.rs' -exec touch {} + && cargo build --release --locked && mv target/release/cdflow /cdflow/

FROM scratch AS prebuilt
COPY cdflow /cdflow/cdflow

FROM ${TERRAFORM_IMAGE} AS terraform

FROM ${BINARY} AS binary

# Debian with all of git's dependencies. The next stage copies about a quarter of it.
FROM ${PACKAGES_IMAGE} AS packages
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates git openssh-client
COPY image/root /image/root
RUN /image/root /image/made

FROM scratch AS slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cdflow" \
      org.opencontainers.image.description="Build once, publish one immutable release, deploy it to any environment with Terraform." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=packages /image/made /
COPY --from=binary /cdflow/cdflow /usr/local/bin/cdflow
# As cdflow-post, the program is the clean-up of a cancelled step (`post-entrypoint` of action.yml).
# Terraform, its providers and hooks run as the user cdflow. ssh refuses a user without an entry here.
RUN ln -s cdflow /usr/local/bin/cdflow-post \
    && echo 'cdflow:x:65532:65532::/nonexistent:/usr/sbin/nologin' >> /etc/passwd && echo 'cdflow:x:65532:' >> /etc/group \
    && cdflow --version && git --version && ssh -V
ENV CDFLOW_PROGRAM_USER=65532
ENTRYPOINT ["/usr/local/bin/cdflow"]

FROM slim AS full
COPY --from=terraform /bin/terraform /usr/local/bin/terraform
RUN CHECKPOINT_DISABLE=1 terraform version

# SPDX-License-Identifier: Apache-2.0
# The gateway as an image: what it needs from the hashed lock, nobody's privileges, nothing to write to but its
# ledger. `make pin-images` puts the base's digest behind its tag where there is a registry to ask.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY deploy/lock/runtime.txt deploy/lock/build.txt ./
# One environment to run from, another to build with: what builds the wheel does not ship.
RUN python -m venv /opt/sekisho \
 && python -m venv /opt/build \
 && /opt/sekisho/bin/python -m pip install --no-cache-dir --no-compile --require-hashes -r runtime.txt \
 && /opt/build/bin/python -m pip install --no-cache-dir --require-hashes -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY policies policies
COPY proxy proxy
RUN /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/sekisho/bin/python -m pip install --no-cache-dir --no-compile --no-deps --no-index /wheels/*.whl \
# Nobody may write there later on: without this every start and every health check compiles all that it imports.
 && /opt/sekisho/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/sekisho/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="sekisho" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="The checkpoint in front of internal APIs that hold personal data"
# The base's own library comes without compiled files, too.
RUN python -m compileall -q --invalidation-mode unchecked-hash "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# A new volume has the owner of the folder of the image that it is mounted on.
RUN groupadd --system --gid 10001 sekisho \
 && useradd --system --uid 10001 --gid sekisho --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sekisho \
 && install -d -o sekisho -g sekisho -m 0700 /var/lib/sekisho /run/secrets
COPY --from=build /opt/sekisho /opt/sekisho
ENV PATH=/opt/sekisho/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SEKISHO_POLICIES=/etc/sekisho/policies \
    SEKISHO_PSEUDONYM_KEY=/run/secrets/sekisho-pseudonym-key \
    SEKISHO_LEDGER_KEY=/run/secrets/sekisho-ledger-key \
    SEKISHO_LEDGER=/var/lib/sekisho/ledger \
    SEKISHO_REGISTERS_FOLDER=/var/lib/sekisho/registers \
    SEKISHO_LISTEN=0.0.0.0:8080 \
    SEKISHO_ADMIN=127.0.0.1:9090
USER 10001:10001
VOLUME ["/var/lib/sekisho"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["sekisho", "health"]
ENTRYPOINT ["sekisho"]
CMD ["run"]

# The image of api, worker and migrate: one package, the command decides.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/gpuledger
WORKDIR /build
# The lock alone first, so that a change of the code does not install everything again.
COPY requirements.image.lock ./
RUN /opt/gpuledger/bin/pip install --require-hashes -r requirements.image.lock
COPY pyproject.toml README.md ./
COPY app ./app
COPY migrations ./migrations
RUN /opt/gpuledger/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /srv/gpuledger gpuledger \
    && mkdir -p /srv/gpuledger /var/lib/gpuledger \
    && chown gpuledger /var/lib/gpuledger
COPY --from=build /opt/gpuledger /opt/gpuledger
WORKDIR /srv/gpuledger
COPY reports ./reports
ENV PATH=/opt/gpuledger/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GPULEDGER_DATA_DIR=/var/lib/gpuledger \
    GPULEDGER_REPORT_OUT=/var/lib/gpuledger/reports
USER 10001
EXPOSE 8080
ENTRYPOINT ["gpuledger"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]

# Builds models: docker build -f docker/build.Dockerfile -t mnedge .
#   docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD:/work" mnedge build --recipe demo
# Any --user and any mount will do; -v mnedge-cache:/cache keeps what builds share.
FROM python:3.12-slim AS wheel
COPY . /source
RUN python3 -m venv /tmp/pip && /tmp/pip/bin/pip wheel --no-cache-dir --quiet --no-deps --wheel-dir /wheel /source

FROM python:3.12-slim
# A virtual environment, so that the image's own Python stays as it is.
COPY --from=wheel /wheel /wheel
RUN python3 -m venv /opt/mnedge \
 && /opt/mnedge/bin/pip install --no-cache-dir --quiet /wheel/*.whl \
 && useradd --create-home --uid 1000 mnedge \
 && mkdir --mode 1777 /work /cache
# A --user that the image does not know has no home; Keras and Matplotlib write there, too.
ENV PATH=/opt/mnedge/bin:$PATH MNEDGE_CACHE=/cache KERAS_HOME=/tmp/keras MPLCONFIGDIR=/tmp/matplotlib
USER mnedge
WORKDIR /work
# The demo's weights come with the package and its pictures with scikit-learn: no network is needed from here on.
ENTRYPOINT ["mnedge"]
CMD ["--help"]

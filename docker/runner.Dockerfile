# Runs and measures models on an arm64 board; no TensorFlow. The board's folder is a bundle:
#   mnedge bundle raspberry-pi artifacts/SLUG --out pi
#   docker build --platform linux/arm64 -f docker/runner.Dockerfile -t classify pi
#   docker run --rm -v "$PWD/photos:/photos:ro" classify /photos
FROM python:3.12-slim
COPY requirements.txt /tmp/requirements.txt
RUN python3 -m venv /opt/classify \
 && /opt/classify/bin/pip install --no-cache-dir --quiet -r /tmp/requirements.txt \
 && useradd --create-home --uid 1000 classify
COPY . /opt/model
USER classify
ENTRYPOINT ["/opt/classify/bin/python", "/opt/model/classify.py"]
CMD ["--help"]

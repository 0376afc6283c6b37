# Runs and measures models on an arm64 board; no TensorFlow. The board's folder is a bundle, whose program is started:
#   mnedge bundle raspberry-pi artifacts/SLUG --out pi
#   docker build --platform linux/arm64 -f docker/runner.Dockerfile -t model pi
#   docker run --rm -v "$PWD/photos:/photos:ro" model /photos
#   docker run --rm --device /dev/video0 --group-add video model --camera /dev/video0 --stream
FROM python:3.12-slim
COPY requirements.txt /tmp/requirements.txt
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --quiet -r /tmp/requirements.txt \
 && useradd --create-home --uid 1000 model
COPY . /opt/model
# classify.py, detect.py, segment.py or embed.py, as model.json says.
RUN program="$(/opt/venv/bin/python -c 'import json; print(json.load(open("/opt/model/model.json"))["program"])')" \
 && printf '#!/bin/sh\nexec /opt/venv/bin/python "/opt/model/%s" "$@"\n' "$program" > /usr/local/bin/run-model \
 && chmod 755 /usr/local/bin/run-model
USER model
ENTRYPOINT ["/usr/local/bin/run-model"]
CMD ["--help"]

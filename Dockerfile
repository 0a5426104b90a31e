# segloop on a processor:
#   docker build -t segloop .      with --build-arg OPTIONS="--extra-index-url ADDRESS" for torch's smaller CPU builds
#   docker run --rm -v "$PWD:/photos" segloop segment photo.jpg --classes "road, sky"
FROM python:3.11-slim
ARG OPTIONS=""
WORKDIR /segloop
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt $OPTIONS .
WORKDIR /photos
ENTRYPOINT ["segloop"]
